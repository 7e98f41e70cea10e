//! A step through lists, tile by tile.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::gradient::versions::encode;
use crate::lists::pace::Pace;
use crate::lists::plan::Listed;
use crate::lists::rows::Room;
use crate::lists::work::Work;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::aligned::Aligned;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;

/// Tiles that follow one another, with their rows of h and C.
pub struct Part<'a, T, L> {
    pub tiles: &'a mut [L],
    pub h: &'a mut [T],
    pub c: &'a mut [T],
}

/// A step through lists.
pub struct TileStep<'a, T, L: Listed<T>> {
    pub isa: Isa,
    pub p: &'a Params<T>,
    pub x: &'a Examples<T>,
    pub importance: &'a [T],
    pub importance64: &'a [f64],
    pub features: &'a L::Features,
    pub length: usize,
    pub pace: Pace,
    pub room: &'a Room,
    pub cancel: &'a AtomicBool,
}

impl<T: Real, L: Listed<T>> TileStep<'_, T, L> {
    pub fn tiles(&self, part: Part<T, L>, lanes: &mut Aligned<T>, sums: &mut [f64]) {
        let Part { tiles, h, c } = part;
        let (isa, p, importance, length) = (self.isa, self.p, self.importance, self.length);
        let mut at = 0;
        for tile in tiles {
            if self.cancel.load(Ordering::Relaxed) || self.room.is_over() {
                return;
            }
            let span = tile.span();
            let rows = at..at + span.len() * length;
            at = rows.end;
            let (h, c) = (&mut h[rows.clone()], &mut c[rows]);
            encode(isa, p, self.x, importance, span, length, h, c);
            tile.refresh(isa, self.features, h, self.pace, Some(self.room));
            if self.room.is_over() {
                return;
            }
            let work = Work {
                p,
                importance,
                importance64: self.importance64,
                h,
                c,
                lanes: &mut *lanes,
                sums: &mut *sums,
            };
            tile.run(isa, work);
        }
    }
}
