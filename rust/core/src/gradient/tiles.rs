//! A step through lists, tile by tile.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernels::nonzeros::{Encode, encode};
use crate::lists::listed::Listed;
use crate::lists::pace::Pace;
use crate::lists::rows::Room;
use crate::lists::work::Work;
use crate::simd::aligned::Aligned;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;

/// Tiles that follow one another, with their rows of h and C.
pub struct Part<'a, 'b, T> {
    pub tiles: &'a mut [Box<dyn Listed<T> + 'b>],
    pub h: &'a mut [T],
    pub c: &'a mut [T],
}

/// A step through lists.
pub struct TileStep<'a, T> {
    pub isa: Isa,
    pub from: Encode<'a, T>,
    pub importance64: &'a [f64],
    pub pace: Pace,
    pub room: &'a Room,
    pub cancel: &'a AtomicBool,
}

impl<T: Real> TileStep<'_, T> {
    pub fn tiles(&self, part: Part<'_, '_, T>, lanes: &mut Aligned<T>, sums: &mut [f64]) {
        let Part { tiles, h, c } = part;
        let mut at = 0;
        for tile in tiles {
            if self.cancel.load(Ordering::Relaxed) || self.room.is_over() {
                return;
            }
            let span = tile.span();
            let rows = at..at + span.len() * self.from.length;
            at = rows.end;
            let (h, c) = (&mut h[rows.clone()], &mut c[rows]);
            encode(self.isa, &self.from, span, h, c);
            tile.refresh(self.isa, h, self.pace, Some(self.room));
            if self.room.is_over() {
                return;
            }
            let work = Work {
                p: self.from.p,
                importance: self.from.importance,
                importance64: self.importance64,
                h,
                c,
                lanes: &mut *lanes,
                sums: &mut *sums,
            };
            tile.run(self.isa, work);
        }
    }
}
