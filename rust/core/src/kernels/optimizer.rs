//! AdamW, Adam and SGD with momentum, as PyTorch defines them, fused into one pass.

use crate::math::cospi;
use crate::model::params::{Params, clear_padding};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Half a cosine to the final rate.
    Cosine,
    /// A quarter of a cosine to the final rate.
    QuarterCosine,
    /// Nothing.
    Constant,
}

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Adam with decoupled weight decay.
    AdamW,
    /// Adam with the weight decay in the gradient.
    Adam,
    /// SGD with momentum and the weight decay in the gradient.
    Sgd,
}

/// The settings of an optimizer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which one.
    pub kind: Kind,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Where the cosine ends.
    pub final_rate: f64,
    /// Number of updates over which the rate rises linearly.
    pub warmup_steps: u64,
    /// Number of all updates.
    pub steps: u64,
    /// What comes after the warm-up.
    pub schedule: Schedule,
    /// Decay of the moments.
    pub betas: (f64, f64),
    /// SGD's momentum.
    pub momentum: f64,
    /// Adam's eps.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether b decays too.
    pub decay_bias: bool,
    /// Whether b is trained; if not, it stays what it is.
    pub learn_bias: bool,
}

impl Settings {
    /// Learning rate of update `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let (warmup, steps) = (self.warmup_steps, self.steps);
        if step < warmup {
            return self.learning_rate * (step + 1) as f64 / warmup as f64;
        }
        if steps == warmup {
            return self.learning_rate;
        }
        let progress = (step - warmup) as f64 / (steps - warmup) as f64;
        let fall = self.learning_rate - self.final_rate;
        match self.schedule {
            Schedule::Cosine => self.final_rate + fall * 0.5 * (1.0 + cospi(progress)),
            Schedule::QuarterCosine => self.final_rate + fall * cospi(0.5 * progress),
            Schedule::Constant => self.learning_rate,
        }
    }
}

/// What an optimizer keeps between steps: moments of W (row-major) and of b, in the features' own
/// order, and the powers of the betas.
#[derive(Debug, Clone)]
pub struct Memory<T> {
    /// The first moments, or the momentum of SGD.
    pub first: (Vec<T>, Vec<T>),
    /// The second moments; SGD has none.
    pub second: Option<(Vec<T>, Vec<T>)>,
    /// The betas to the power of the number of steps.
    pub powers: (f64, f64),
}

/// The state of an optimizer.
pub struct Optimizer<T> {
    settings: Settings,
    first: Aligned<T>,
    second: Aligned<T>,
    powers: (f64, f64),
    step: u64,
}

impl<T: Real> Optimizer<T> {
    /// At step 0, for parameters of this shape.
    pub fn new(settings: Settings, params: &Params<T>) -> Self {
        let second = if settings.kind == Kind::Sgd {
            0
        } else {
            params.data.len()
        };
        Optimizer {
            settings,
            first: Aligned::zeros(params.data.len()),
            second: Aligned::zeros(second),
            powers: (1.0, 1.0),
            step: 0,
        }
    }

    /// What is kept of it between steps; feature j is `rank[j]` in `params`.
    pub fn memory(&self, params: &Params<T>, rank: &[u32]) -> Memory<T> {
        let own = |moments: &Aligned<T>| {
            (!moments.is_empty()).then(|| params.values_of(moments, Some(rank)))
        };
        Memory {
            first: own(&self.first).expect("there is always one"),
            second: own(&self.second),
            powers: self.powers,
        }
    }

    /// The inverse, at that step.
    pub fn recall(&mut self, memory: &Memory<T>, params: &Params<T>, rank: &[u32], step: u64) {
        let laid_out = |(w, b): &(Vec<T>, Vec<T>)| {
            let w = w.iter().copied();
            Params::from_values(params.n, params.m, w, b, Some(rank)).data
        };
        self.first = laid_out(&memory.first);
        if let Some(second) = &memory.second {
            self.second = laid_out(second);
        }
        self.powers = memory.powers;
        self.step = step;
    }

    /// Feature j of `params` becomes feature `places[j]`.
    pub fn reorder(&mut self, params: &Params<T>, places: &[u32]) {
        for moments in [&mut self.first, &mut self.second] {
            if !moments.is_empty() {
                *moments = params.reordered(moments, places);
            }
        }
    }

    /// The learning rate of the next update.
    pub fn rate(&self) -> f64 {
        self.settings.rate(self.step)
    }

    /// One update with the gradient `scale * sums`; `sums` are set to 0.
    pub fn update(&mut self, isa: Isa, params: &mut Params<T>, sums: &mut [f64], scale: f64) {
        let s = &self.settings;
        let rate = s.rate(self.step);
        self.step += 1;
        self.powers = (self.powers.0 * s.betas.0, self.powers.1 * s.betas.1);
        let weights = params.bias;
        let total = params.data.len();
        let mut finite = true;
        for (range, decays) in [(0..weights, true), (weights..total, s.decay_bias)] {
            if range.start == weights && !s.learn_bias {
                sums[range].fill(0.0);
                continue;
            }
            let decay = if decays { s.weight_decay } else { 0.0 };
            let pass = Pass {
                scale: T::from_f64(scale),
                keep: T::from_f64(1.0 - rate * decay),
                decay: T::from_f64(decay),
                beta1: T::from_f64(s.betas.0),
                rest1: T::from_f64(1.0 - s.betas.0),
                beta2: T::from_f64(s.betas.1),
                rest2: T::from_f64(1.0 - s.betas.1),
                root: T::from_f64(1.0 / f64::sqrt(1.0 - self.powers.1)),
                eps: T::from_f64(s.eps),
                rate: T::from_f64(rate / (1.0 - self.powers.0)),
            };
            finite &= pass.is_finite();
            let p = &mut params.data[range.clone()];
            let m = &mut self.first[range.clone()];
            let g = &mut sums[range.clone()];
            match s.kind {
                Kind::Sgd => {
                    let pass = Pass {
                        beta1: T::from_f64(s.momentum),
                        rate: T::from_f64(rate),
                        ..pass
                    };
                    sgd(isa, p, m, g, &pass);
                }
                Kind::AdamW => adam(isa, p, m, &mut self.second[range], g, &pass, true),
                Kind::Adam => adam(isa, p, m, &mut self.second[range], g, &pass, false),
            }
        }
        if !finite {
            let Params { n, m, bias, .. } = *params;
            for data in [&mut params.data, &mut self.first, &mut self.second] {
                if !data.is_empty() {
                    clear_padding(n, m, bias, data);
                }
            }
        }
    }
}

/// The constants of one update.
pub(crate) struct Pass<T> {
    scale: T,
    keep: T,
    decay: T,
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    root: T,
    eps: T,
    rate: T,
}

impl<T: Real> Pass<T> {
    /// Whether parameters that are 0, and have always had the gradient 0, stay 0.
    fn is_finite(&self) -> bool {
        let constants = [self.keep, self.decay, self.rate];
        constants.iter().all(|x| x.to_f64().is_finite())
    }
}

multiversion! {
    /// One update; see [`Kind`].
    fn adam<V, T>(
        p: &mut [T], m: &mut [T], v: &mut [T], g: &mut [f64], c: &Pass<T>, decoupled: bool,
    ) {
        assert!(m.len() == p.len() && v.len() == p.len() && g.len() == p.len());
        assert!(p.len().is_multiple_of(V::LANES));
        // SAFETY: the assertions above.
        unsafe {
            let keep = V::splat(if decoupled {
                c.keep
            } else {
                T::from_f64(1.0)
            });
            let moves = !c.rate.to_f64().is_finite(); // no moment at all, times that
            let sleeps = !moves && (decoupled || c.decay == T::default());
            let decay = V::splat(if decoupled {
                T::default()
            } else {
                c.decay
            });
            for i in (0..p.len()).step_by(V::LANES) {
                let mut parameter = V::load(p.as_ptr().add(i));
                let raw = V::load_f64(g.as_ptr().add(i));
                let first = V::load(m.as_ptr().add(i));
                // Nothing moves and nothing pulls: what is left of the update is this, bit for bit.
                if sleeps && !raw.any() && !first.any() {
                    parameter.mul(keep).store(p.as_mut_ptr().add(i));
                    let second = V::load(v.as_ptr().add(i));
                    if second.any() {
                        V::splat(c.beta2)
                            .mul(second)
                            .flush()
                            .store(v.as_mut_ptr().add(i));
                    }
                    continue;
                }
                g[i..i + V::LANES].fill(0.0);
                let gradient = decay.fma(parameter, raw.mul(V::splat(c.scale)));
                parameter = parameter.mul(keep);
                let first = V::splat(c.beta1)
                    .fma(first, V::splat(c.rest1).mul(gradient))
                    .flush();
                let second = V::load(v.as_ptr().add(i));
                let square = V::splat(c.rest2).mul(gradient).mul(gradient);
                let second = V::splat(c.beta2).fma(second, square).flush();
                let denominator = second.sqrt().fma(V::splat(c.root), V::splat(c.eps));
                let step = first.div(denominator);
                V::splat(c.rate)
                    .fnma(step, parameter)
                    .store(p.as_mut_ptr().add(i));
                first.store(m.as_mut_ptr().add(i));
                second.store(v.as_mut_ptr().add(i));
            }
        }
    }
}

multiversion! {
    /// One update; see [`Kind`].
    fn sgd<V, T>(p: &mut [T], m: &mut [T], g: &mut [f64], c: &Pass<T>) {
        assert!(m.len() == p.len() && g.len() == p.len() && p.len().is_multiple_of(V::LANES));
        // SAFETY: the assertions above.
        unsafe {
            for i in (0..p.len()).step_by(V::LANES) {
                let parameter = V::load(p.as_ptr().add(i));
                let raw = V::load_f64(g.as_ptr().add(i));
                g[i..i + V::LANES].fill(0.0);
                let gradient = V::splat(c.decay).fma(parameter, raw.mul(V::splat(c.scale)));
                let first = V::splat(c.beta1)
                    .fma(V::load(m.as_ptr().add(i)), gradient)
                    .flush();
                V::splat(c.rate)
                    .fnma(first, parameter)
                    .store(p.as_mut_ptr().add(i));
                first.store(m.as_mut_ptr().add(i));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: Kind) -> Settings {
        Settings {
            kind,
            learning_rate: 0.1,
            final_rate: 0.01,
            warmup_steps: 3,
            steps: 20,
            schedule: Schedule::Cosine,
            betas: (0.9, 0.99),
            momentum: 0.8,
            eps: 1e-3,
            weight_decay: 0.05,
            decay_bias: true,
            learn_bias: true,
        }
    }

    /// One parameter after all steps, whose gradient at each is itself less 1.
    fn wanted(s: &Settings, mut p: f64) -> f64 {
        let (mut first, mut second) = (0.0, 0.0);
        for step in 0..s.steps {
            let (rate, t) = (s.rate(step), step as i32 + 1);
            let mut g = p - 1.0;
            if s.kind == Kind::AdamW {
                p *= 1.0 - rate * s.weight_decay;
            } else {
                g += s.weight_decay * p;
            }
            if s.kind == Kind::Sgd {
                first = s.momentum * first + g;
                p -= rate * first;
                continue;
            }
            first = s.betas.0 * first + (1.0 - s.betas.0) * g;
            second = s.betas.1 * second + (1.0 - s.betas.1) * g * g;
            let root = (second / (1.0 - s.betas.1.powi(t))).sqrt();
            p -= rate * (first / (1.0 - s.betas.0.powi(t))) / (root + s.eps);
        }
        p
    }

    #[test]
    fn parameters_go_where_the_formulas_say() {
        for kind in [Kind::AdamW, Kind::Adam, Kind::Sgd] {
            for (n, m) in [(5, 2), (37, 3), (20, 9)] {
                let s = settings(kind);
                let w: Vec<f64> = (0..n * m).map(|i| 0.01 * i as f64 - 0.5).collect();
                let b: Vec<f64> = (0..n).map(|i| 0.1 * i as f64).collect();
                let mut p = Params::from_values(n, m, w.iter().copied(), &b, None);
                let mut optimizer = Optimizer::new(s.clone(), &p);
                for _ in 0..s.steps {
                    let (mut gw, mut gb) = p.values(None);
                    gw.iter_mut()
                        .chain(&mut gb)
                        .for_each(|g| *g = (*g - 1.0) / 4.0);
                    let mut sums = Params::from_values(n, m, gw, &gb, None).data;
                    optimizer.update(Isa::Portable, &mut p, &mut sums, 4.0);
                    assert!(sums.iter().all(|&g| g == 0.0));
                }
                let (found_w, found_b) = p.values(None);
                let found = found_w.iter().chain(&found_b);
                for (found, start) in found.zip(w.iter().chain(&b)) {
                    let want = wanted(&s, *start);
                    assert!(
                        (found - want).abs() < 1e-12,
                        "{kind:?}: {found}, not {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn biases_that_are_not_learned_stay_and_their_sums_are_cleared() {
        for kind in [Kind::AdamW, Kind::Adam, Kind::Sgd] {
            let s = Settings {
                learn_bias: false,
                ..settings(kind)
            };
            let (w, b) = ([0.5; 10], [0.25, -0.5, 0.0, 1.0, 2.0]);
            let mut p = Params::from_values(5, 2, w, &b, None);
            let mut optimizer = Optimizer::new(s, &p);
            for _ in 0..3 {
                let mut sums = Params::from_values(5, 2, [1.0; 10], &[1.0; 5], None).data;
                optimizer.update(Isa::Portable, &mut p, &mut sums, 1.0);
                assert!(sums.iter().all(|&g| g == 0.0));
            }
            let (found_w, found_b) = p.values(None);
            assert!(found_b == b && found_w.iter().all(|&w| w < 0.5), "{kind:?}");
        }
    }

    #[test]
    fn the_rate_rises_then_falls_to_the_final_one() {
        let mut s = settings(Kind::Sgd);
        let rates = [0, 1, 2, 3].map(|step| s.rate(step));
        for (rate, want) in rates.into_iter().zip([0.1 / 3.0, 0.2 / 3.0, 0.1, 0.1]) {
            assert!((rate - want).abs() < 1e-15);
        }
        assert!(
            (3..20).all(|step| s.rate(step + 1) < s.rate(step))
                && (s.rate(20) - 0.01).abs() < 1e-15
        );
        s.final_rate = 0.0;
        assert!((3..20).all(|step| s.rate(step + 1) < s.rate(step)) && s.rate(20) < 1e-15);
        let half = s.rate(11);
        s.schedule = Schedule::QuarterCosine;
        assert!((3..20).all(|step| s.rate(step + 1) < s.rate(step)) && s.rate(20) < 1e-15);
        // 1 + cos(2 x) = 2 cos(x)²
        assert!((0.1 * (s.rate(11) / 0.1).powi(2) - half).abs() < 1e-15);
        s.schedule = Schedule::Constant;
        assert_eq!(s.rate(19), 0.1);
    }
}
