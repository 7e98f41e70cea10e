//! How far lists let things move before they are made anew, and for how long they shall last.

/// Steps from one review of the counts to the next.
pub const REVIEW: u64 = 64;

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
}

impl Lifetime {
    /// That of the first lists.
    pub fn new() -> Self {
        Lifetime {
            steps: 16.0,
            last: Counts::default(),
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
        }
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
        let low = if self.all { 0.0 } else { 0.25 };
        let change = if expected < 4.0 {
            expected.max(low)
        } else {
            4.0
        };
        (f64::from(factor) * change).clamp(1.0 / 1024.0, 1e9) as f32
    }

    /// Whether what was born at step `born` is to be looked at again though its budget lasts.
    pub fn aged(&self, born: u64) -> bool {
        (self.step - born) as f64 > 8.0 * self.life
    }
}
