//! What lists by feature and by group have in common.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::lists::budgets::Budgets;
use crate::lists::pace::{Counts, Lifetime, Pace};
use crate::lists::rows::Room;
use crate::lists::work::Work;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::isa::Isa;

/// Orders of features and of examples.
pub type Orders = (Vec<u32>, Vec<u32>);

/// The lists of all tiles, with the references of the features.
pub trait Lists<T>: Send {
    /// What is kept when they are made anew, to last `life` steps.
    fn budgets(&self, life: f64) -> Budgets;
    /// The inverse, for lists without entries.
    fn resume(&mut self, budgets: &Budgets);
    /// Sums over tiles.
    fn counts(&self) -> Counts;
    /// Entries that there is room for.
    fn size(&self) -> usize;
    /// Vectors of pairs looked at in making lists, since the beginning.
    fn built(&self) -> u64;
    /// Every [`REVIEW`](crate::lists::pace::REVIEW) steps: set how long they shall last; the cycles of a step, roughly.
    fn review(&mut self, life: &mut Lifetime) -> f64;
    /// Take anew the references of the features that have moved too far, or of all.
    fn look(&mut self, isa: Isa, p: &Params<T>, pace: Pace);
    /// The tiles, in the order of their examples.
    fn tiles(&mut self) -> Vec<Box<dyn Listed<T> + '_>>;
    /// Whether it is worth sorting features and examples anew.
    fn is_unsorted(&self) -> bool {
        false
    }
    /// Orders in which similar examples lie together, and similar features where that matters, as they are
    /// to lie from here on.
    fn sort(&mut self, p: &Params<T>, h: &[T], x: &Examples<T>, cancel: &AtomicBool) -> Orders;
}

/// A tile of examples with its lists, and what these are made from.
pub trait Listed<T>: Send {
    /// Its examples.
    fn span(&self) -> Range<usize>;
    /// Take references anew where it is time, and with a `room` make the lists that go with them.
    fn refresh(&mut self, isa: Isa, h: &[T], pace: Pace, room: Option<&Room>);
    /// Add what the pairs add.
    fn run(&mut self, isa: Isa, work: Work<'_, T>);
}
