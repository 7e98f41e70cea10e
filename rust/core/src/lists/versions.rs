//! One version of each body for each instruction set.

use crate::lists::group_references::Groups;
use crate::lists::group_tile::GroupTile;
use crate::lists::pace::Pace;
use crate::lists::references::Features;
use crate::lists::rows::Room;
use crate::lists::tile::Tile;
use crate::lists::work::Work;
use crate::model::params::Params;
use crate::simd::dispatch::multiversion;

multiversion! {
    /// See [`Features::look`].
    fn look<V, T>(features: &mut Features<T>, p: &Params<T>, pace: Pace) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { features.look::<V>(p, pace) }
    }
}

multiversion! {
    /// See [`Tile::take`] and [`Tile::build`].
    fn refresh<V, T>(
        tile: &mut Tile<T>, features: &Features<T>, h: &[T], pace: Pace, room: Option<&Room>,
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            tile.take::<V>(h, pace);
            if let Some(room) = room {
                tile.build::<V>(features, &features.rebuilt, room);
            }
        }
    }
}

multiversion! {
    /// See [`Tile::run`].
    fn tile<V, T>(tile: &mut Tile<T>, work: Work<'_, T>) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.run::<V>(work.p, work.importance64, work.h, work.c, work.sums) }
    }
}

multiversion! {
    /// See [`Groups::look`].
    fn look_at_groups<V, T>(groups: &mut Groups<T>, p: &Params<T>, pace: Pace) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { groups.look::<V>(p, pace) }
    }
}

multiversion! {
    /// See [`GroupTile::refresh`].
    fn refresh_groups<V, T>(
        tile: &mut GroupTile<T>, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>,
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.refresh::<V>(groups, h, pace, room) }
    }
}

multiversion! {
    /// See [`GroupTile::run`].
    fn group_tile<V, T>(tile: &mut GroupTile<T>, work: Work<'_, T>) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.run::<V>(work) }
    }
}
