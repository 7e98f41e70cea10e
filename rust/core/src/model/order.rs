//! Orders of features and examples.

use crate::memory;

/// Where each is in `order`.
pub fn inverse(order: &[u32]) -> Vec<u32> {
    let mut places = memory::zeros(order.len());
    for (i, &j) in order.iter().enumerate() {
        places[j as usize] = i as u32;
    }
    places
}

/// Put what is at `order[i]` at i; what lies behind the order, and nothing, stays.
pub fn reorder<T: Copy>(values: &mut [T], order: &[u32]) {
    let old = memory::copy(values);
    values
        .iter_mut()
        .zip(order)
        .for_each(|(to, &j)| *to = old[j as usize]);
}

/// Who was to be at i is to be at `places[i]`.
pub fn follow(rank: &mut [u32], places: &[u32]) {
    rank.iter_mut().for_each(|i| *i = places[*i as usize]);
}
