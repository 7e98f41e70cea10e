//! How far lists let things move before they are made anew, and for how long they shall last.

/// Steps from one review of the counts to the next.
pub const REVIEW: u64 = 64;
/// How much dearer a pair is that is looked at by itself, and added to a list that has to be searched,
/// than one that is looked at when all lists are made.
const SINGLY: f64 = 3.0;
/// Lists that last so many times longer than they shall have budgets that are too large.
const AGED: f64 = 8.0;
/// Of late are the last steps, an eighth of the age of the lists.
const LATE: f64 = 8.0;

/// What was done and what there is to do, as counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Entries of all lists.
    pub entries: u64,
    /// Entries that would be there without any skin.
    pub bare: u64,
    /// Lists that are not empty.
    pub rows: u64,
    /// Lists of exceptions from being linear.
    pub minus: u64,
    /// Vectors of pairs looked at in building lists, since the beginning.
    pub built: u64,
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), |a, b| Counts {
            entries: a.entries + b.entries,
            bare: a.bare + b.bare,
            rows: a.rows + b.rows,
            minus: a.minus + b.minus,
            built: a.built + b.built,
        })
    }
}

/// How long the lists of a run shall last.
pub struct Lifetime {
    /// Steps.
    pub steps: f64,
    last: Counts,
    made: Made,
}

/// When all lists of a run were last made; the vectors of pairs looked at before that, with that, and up to
/// the last step; and the work of a step on what moved too far, of late.
#[derive(Default)]
struct Made {
    step: u64,
    before: u64,
    with: Option<u64>,
    last: u64,
    late: f64,
}

impl Lifetime {
    /// That of the first lists.
    pub fn new() -> Self {
        Lifetime {
            steps: 16.0,
            last: Counts::default(),
            made: Made::default(),
        }
    }

    /// That of lists which are made anew.
    pub fn resumed(steps: f64) -> Self {
        Lifetime {
            steps,
            ..Lifetime::new()
        }
    }

    /// The pace at a step, for references that are too old.
    pub fn pace(&self, step: u64, size: f64) -> Pace {
        Pace {
            step,
            size,
            life: self.steps,
            all: false,
            adapt: true,
            least: 0.25,
        }
    }

    /// All lists are made at a step; so many vectors of pairs have been looked at before.
    pub fn made(&mut self, step: u64, built: u64) {
        self.made = Made {
            step,
            before: built,
            with: None,
            last: built,
            late: 0.0,
        };
    }

    /// Whether it is time to make all lists anew at a step, before which so many vectors of pairs have
    /// been looked at: they are aged, or what moves too far takes more work in a step, of late, than a step
    /// since they were made has taken on average, making them included. (That is when the average would
    /// begin to rise.)
    pub fn is_over(&mut self, step: u64, built: u64) -> bool {
        let made = &mut self.made;
        let with = *made.with.get_or_insert(built);
        let age = (step - made.step).max(1) as f64;
        let singly = SINGLY * (built - made.last.max(with)) as f64;
        let all = (with - made.before) as f64 + SINGLY * (built - with) as f64;
        made.last = built;
        made.late += (LATE / age).min(0.5) * (singly - made.late);
        age >= AGED * self.steps || made.late * age > all
    }

    /// Every [`REVIEW`] steps, from the counts so far and the cycles of an entry and of a vector of pairs
    /// looked at: the sum of what it takes to make lists and of what entries take that are there for the
    /// skin alone is least where both are equal.
    pub fn review(&mut self, counts: Counts, entry: f64, vector: f64) {
        let built = (counts.built - self.last.built) as f64 * vector;
        let extra = (counts.entries - counts.bare) as f64 * entry * REVIEW as f64;
        let change = (built / extra.max(1.0)).sqrt().clamp(0.5, 2.0);
        if self.last.built > 0 && !(0.8..1.25).contains(&change) {
            self.steps = (self.steps * change).clamp(8.0, 1024.0);
        }
        self.last = counts;
    }
}

/// Steps and their size: what budgets are made of.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Number of the step.
    pub step: u64,
    /// Size of a step: the learning rate.
    pub size: f64,
    /// Number of steps that lists shall last.
    pub life: f64,
    /// Whether all references are taken anew.
    pub all: bool,
    /// Whether budgets follow what was used of the last ones.
    pub adapt: bool,
    /// By what factor a budget may fall at once.
    pub least: f64,
}

impl Pace {
    /// How far a coordinate may go, for its `factor` of steps of the present size.
    pub fn budget(&self, factor: f32) -> f64 {
        // Squares of these have to be normal numbers.
        (f64::from(factor) * self.life * self.size).clamp(1e-15, 1e15)
    }

    /// The next factor, of something that used that share of its budget since step `born`.
    pub fn next_factor(&self, factor: f32, used: f64, born: u64) -> f32 {
        let age = (self.step - born).max(1) as f64;
        let expected = 1.25 * used * self.life / age;
        // NaN becomes the upper end.
        let change = if expected < 4.0 {
            expected.max(self.least)
        } else {
            4.0
        };
        (f64::from(factor) * change).clamp(1.0 / 1024.0, 1e9) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists that 1,000 vectors of pairs were looked at for, at step 10.
    fn life() -> Lifetime {
        let mut life = Lifetime::resumed(20.0);
        life.made(10, 5_000);
        assert!(!life.is_over(11, 6_000));
        life
    }

    #[test]
    fn lists_that_little_leaves_last_longer_than_they_shall() {
        // One vector of pairs in each step: less than a step takes on average, at every age.
        let mut life = life();
        assert!((12..170).all(|step| !life.is_over(step, 6_000 + step - 11)));
        assert!(life.is_over(170, 6_159));
    }

    #[test]
    fn lists_that_nothing_leaves_last_until_they_are_aged() {
        let mut life = life();
        assert!((12..170).all(|step| !life.is_over(step, 6_000)));
        assert!(life.is_over(170, 6_000));
    }

    #[test]
    fn lists_are_made_anew_once_exceptions_are_more_work() {
        // A step takes 1,000 / 10 vectors on average after ten steps: a third of that one by one, in half
        // of the latest steps.
        for (exceptions, over) in [(60, false), (100, true)] {
            let mut life = life();
            assert!(!life.is_over(19, 6_000));
            assert_eq!(life.is_over(20, 6_000 + exceptions), over);
        }
        // Many of them, but long ago.
        let mut life = life();
        assert!(!life.is_over(12, 6_000 + 160));
        assert!((13..40).all(|step| !life.is_over(step, 6_000 + 160)));
    }
}
