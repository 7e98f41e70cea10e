//! The lists of a run, of either kind.

use crate::lists::budgets::Budgets;
use crate::lists::by_feature::ByFeature;
use crate::lists::listed::Lists;
#[cfg(feature = "doors")]
use crate::lists::pace::Counts;
use crate::lists::pace::{Lifetime, Pace};
use crate::lists::sorted;
use crate::lists::work::entries_limit;
use crate::model::examples::Examples;
use crate::model::params::{Params, SMALL};
use crate::simd::vector::Real;

/// The lists of a run, and how long they last.
pub struct Plan<T> {
    /// By feature, or for small m of sorted features, too.
    pub lists: Box<dyn Lists<T>>,
    /// Whether the next step takes all references anew.
    pub fresh: bool,
    /// Entries that there may be.
    pub limit: usize,
    life: Lifetime,
}

impl<T: Real> Plan<T> {
    pub fn new(p: &Params<T>, x: &Examples<T>, length: usize) -> Self {
        let nonzeros = x.rows.indices.len();
        Plan {
            lists: if p.m <= SMALL {
                sorted::lists(p, x.count, nonzeros)
            } else {
                Box::new(ByFeature::new(p, x.count, length))
            },
            fresh: true,
            limit: entries_limit(p, x.count, nonzeros),
            life: Lifetime::new(),
        }
    }

    /// The pace of a step through the lists.
    pub fn pace(&mut self, step: u64, size: f64) -> Pace {
        let mut pace = self.life.pace(step, size);
        let (fresh, built) = (std::mem::take(&mut self.fresh), self.lists.built());
        pace.adapt = !fresh;
        pace.all = fresh || self.life.is_over(step, built);
        if pace.all {
            self.life.made(step, built);
        }
        pace
    }

    /// The pace at which references are taken where a trial begins.
    pub fn first_pace(&self, step: u64, size: f64) -> Pace {
        Pace {
            all: true,
            adapt: false,
            ..self.life.pace(step, size)
        }
    }

    /// The pace at which the first lists are made: the speed of everything is known now.
    pub fn trial_pace(&mut self, step: u64, size: f64) -> Pace {
        self.life.made(step, self.lists.built());
        Pace {
            all: true,
            least: 0.0,
            ..self.life.pace(step, size)
        }
    }

    pub fn budgets(&self) -> Budgets {
        self.lists.budgets(self.life.steps)
    }

    pub fn resume(&mut self, budgets: &Budgets) {
        self.lists.resume(budgets);
        self.life = Lifetime::resumed(budgets.life);
    }

    pub fn review(&mut self) -> f64 {
        self.lists.review(&mut self.life)
    }

    pub fn too_large(&self) -> bool {
        self.lists.size() > self.limit
    }

    /// What there is to do, and the steps that lists shall last.
    #[cfg(feature = "doors")]
    pub fn counts(&self) -> (Counts, f64) {
        (self.lists.counts(), self.life.steps)
    }
}
