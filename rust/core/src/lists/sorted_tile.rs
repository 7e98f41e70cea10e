//! What tiles of sorted examples have in common, whether groups of features list examples or features
//! list blocks of examples.

use std::ops::Range;

use crate::lists::group_references::Groups;
use crate::lists::pace::{Counts, Pace};
use crate::lists::rows::Room;
use crate::lists::work::Work;
use crate::simd::isa::Isa;

/// Cycles, roughly.
pub struct Prices {
    /// Of an entry, and of a list that is not empty.
    pub entry: f64,
    pub row: f64,
    /// Of a list of exceptions.
    pub minus: f64,
    /// Of a group of features in a tile.
    pub group: f64,
    /// Of a vector of pairs that is looked at in making lists.
    pub vector: f64,
}

/// A tile of examples, with lists made from the references of groups of features.
pub trait SortedTile<T>: Send + Sized {
    /// Examples of a tile.
    fn examples(m: usize) -> usize;
    /// Bytes of the bits that tell who is listed, for `count` examples.
    fn bytes(n: usize, m: usize, count: usize) -> usize;
    /// A tile of `count` examples from `first` on; all lists are empty, and none is valid.
    fn new(groups: usize, m: usize, first: usize, count: usize) -> Self;
    /// Its examples.
    fn span(&self) -> Range<usize>;
    /// Factors of the budgets of its examples.
    fn factors(&self) -> &[f32];
    /// The same, to be set.
    fn factors_mut(&mut self) -> &mut [f32];
    fn counts(&self) -> Counts;
    /// Entries that there is room for, if that grows.
    fn size(&self) -> usize;
    /// Vectors of pairs looked at in making lists, since the beginning.
    fn built(&self) -> u64;
    fn prices(m: usize) -> Prices;
    /// As in [`Listed`](crate::lists::listed::Listed).
    fn refresh(&mut self, isa: Isa, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>);
    /// As in [`Listed`](crate::lists::listed::Listed).
    fn run(&mut self, isa: Isa, work: Work<'_, T>);
}
