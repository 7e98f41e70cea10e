//! Compact clusters of points.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory;
use crate::simd::vector::Real;

/// An order of the points `h`, (count, m), in which each `lanes` of them are a compact cluster: the
/// median along the widest side splits, down to that many. Less good if `cancel` was set meanwhile.
pub fn clusters<T: Real>(h: &[T], m: usize, lanes: usize, cancel: &AtomicBool) -> Vec<u32> {
    let count = h.len() / m;
    let mut order: Vec<u32> = memory::collect(count, 0..count as u32);
    let mut parts = Vec::from([std::ops::Range {
        start: 0,
        end: order.len(),
    }]);
    while let Some(part) = parts.pop() {
        if part.len() <= lanes || cancel.load(Ordering::Relaxed) {
            continue;
        }
        let k = widest(h, m, &order[part.clone()]);
        let key = |t: &u32| h[*t as usize * m + k].to_f64();
        let half = (part.len() / 2).next_multiple_of(lanes);
        order[part.clone()]
            .select_nth_unstable_by(half, |a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
        parts.push(part.start..part.start + half);
        parts.push(part.start + half..part.end);
    }
    order
}

/// The coordinate with the largest range.
fn widest<T: Real>(h: &[T], m: usize, order: &[u32]) -> usize {
    let mut best = (0, -1.0);
    for k in 0..m {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &t in order {
            let x = h[t as usize * m + k].to_f64();
            low = low.min(x);
            high = high.max(x);
        }
        if high - low > best.1 {
            best = (k, high - low);
        }
    }
    best.0
}
