//! The lists of a run, of either kind, and what both kinds of tiles do.

use std::ops::Range;

use crate::lists::budgets::Budgets;
use crate::lists::by_feature::Lists;
use crate::lists::by_group::Grouped;
use crate::lists::group_references::Groups;
use crate::lists::group_tile::GroupTile;
#[cfg(feature = "doors")]
use crate::lists::pace::Counts;
use crate::lists::pace::Pace;
use crate::lists::references::Features;
use crate::lists::rows::Room;
use crate::lists::tile::Tile;
use crate::lists::versions::{group_tile, refresh, refresh_groups, tile};
use crate::lists::work::Work;
use crate::model::examples::Examples;
use crate::model::params::{Params, SMALL};
use crate::simd::isa::Isa;
use crate::simd::vector::Real;

/// The lists of a run: by feature, or by groups of features.
pub enum Plan<T> {
    ByFeature(Box<Lists<T>>),
    ByGroup(Box<Grouped<T>>),
}

impl<T: Real> Plan<T> {
    pub fn new(p: &Params<T>, x: &Examples<T>, length: usize) -> Self {
        let nonzeros = x.rows.indices.len();
        if p.m <= SMALL {
            Plan::ByGroup(Box::new(Grouped::new(p, x.count, nonzeros)))
        } else {
            Plan::ByFeature(Box::new(Lists::new(p, x.count, nonzeros, length)))
        }
    }

    pub fn pace(&self, step: u64, size: f64) -> Pace {
        match self {
            Plan::ByFeature(lists) => lists.life.pace(step, size),
            Plan::ByGroup(lists) => lists.life.pace(step, size),
        }
    }

    pub fn budgets(&self) -> Budgets {
        match self {
            Plan::ByFeature(lists) => lists.budgets(),
            Plan::ByGroup(lists) => lists.budgets(),
        }
    }

    pub fn resume(&mut self, budgets: &Budgets) {
        match self {
            Plan::ByFeature(lists) => lists.resume(budgets),
            Plan::ByGroup(lists) => lists.resume(budgets),
        }
    }

    pub fn fresh(&mut self) -> &mut bool {
        match self {
            Plan::ByFeature(lists) => &mut lists.fresh,
            Plan::ByGroup(lists) => &mut lists.fresh,
        }
    }

    pub fn review(&mut self) -> f64 {
        match self {
            Plan::ByFeature(lists) => lists.review(),
            Plan::ByGroup(lists) => lists.review(),
        }
    }

    pub fn is_unsorted(&self) -> bool {
        match self {
            Plan::ByFeature(_) => false,
            Plan::ByGroup(lists) => lists.is_unsorted(),
        }
    }

    /// Entries that there may be.
    pub fn limit(&self) -> usize {
        match self {
            Plan::ByFeature(lists) => lists.limit,
            Plan::ByGroup(lists) => lists.limit,
        }
    }

    /// Entries that there is room for.
    pub fn size(&self) -> usize {
        match self {
            Plan::ByFeature(lists) => lists.tiles.iter().map(Tile::size).sum(),
            Plan::ByGroup(lists) => lists.tiles.iter().map(GroupTile::size).sum(),
        }
    }

    pub fn too_large(&self) -> bool {
        self.size() > self.limit()
    }

    /// What there is to do, and the steps that lists shall last.
    #[cfg(feature = "doors")]
    pub fn counts(&self) -> (Counts, f64) {
        match self {
            Plan::ByFeature(lists) => (lists.counts(), lists.life.steps),
            Plan::ByGroup(lists) => (lists.counts(), lists.life.steps),
        }
    }
}

/// A tile of examples with its lists.
pub trait Listed<T>: Send {
    /// The references of the features.
    type Features: Sync;
    /// Its examples.
    fn span(&self) -> Range<usize>;
    /// Take references anew where it is time, and with a `room` make the lists that go with them.
    fn refresh(
        &mut self,
        isa: Isa,
        features: &Self::Features,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    );
    /// Add what the pairs add.
    fn run(&mut self, isa: Isa, work: Work<'_, T>);
}

impl<T: Real> Listed<T> for Tile<T> {
    type Features = Features<T>;
    fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
    fn refresh(
        &mut self,
        isa: Isa,
        features: &Features<T>,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    ) {
        refresh(isa, self, features, h, pace, room);
    }
    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        tile(isa, self, work);
    }
}

impl<T: Real> Listed<T> for GroupTile<T> {
    type Features = Groups<T>;
    fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
    fn refresh(&mut self, isa: Isa, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>) {
        refresh_groups(isa, self, groups, h, pace, room);
    }
    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        group_tile(isa, self, work);
    }
}
