//! Gradients against the formula, pair by pair in double precision, and against the loss.

use std::sync::atomic::AtomicBool;

use crate::gradient::kernel::Kernel;
use crate::kernels::linear::Activation;
use crate::model::params::{Params, at};
use crate::simd::isa::Isa;
use crate::simd::vector::Real;
use crate::stream::{Csr, Init, Stream, initial_weights, role};
use crate::training::gradients::{Objective, gradients, loss_and_grad};
use crate::training::spec::Choice;

/// A model and its examples.
struct Case {
    n: usize,
    m: usize,
    x: Csr,
    w: Vec<f64>,
    b: Vec<f64>,
    importance: Vec<f64>,
    activation: Activation,
}

/// So many features, dimensions and examples; sparsity, about what b is, and whether features weigh alike.
fn case(n: usize, m: usize, examples: u64, sparsity: f64, bias: f64, alike: bool) -> Case {
    let seed = (n * m) as u64 + examples;
    let stream = Stream::new(n, sparsity, seed, role::TRAIN, true);
    Case {
        n,
        m,
        x: stream.sample(0, examples, &AtomicBool::new(false)).unwrap(),
        w: initial_weights(n, m, Init::XavierNormal, seed).collect(),
        b: initial_weights(n, 1, Init::XavierUniform, seed + 1)
            .map(|b| 0.1 * b + bias)
            .collect(),
        importance: (0..n)
            .map(|j| if alike { 1.0 } else { 0.97f64.powi(j as i32) })
            .collect(),
        activation: Activation::Relu,
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = (1..=8)
        .map(|m| case(20 + 7 * m, m, 30 + m as u64, 0.9, 0.0, m % 2 == 0))
        .collect();
    cases.extend([
        case(1, 1, 1, 0.0, 0.1, true),
        case(70, 3, 200, 0.97, -0.3, false),
        case(70, 2, 200, 0.97, 0.5, true),
        case(90, 9, 150, 0.95, 0.3, false),
        case(40, 17, 65, 0.5, 0.0, true),
        case(66, 33, 40, 0.999, -0.1, false),
    ]);
    let linear = [2, 9].map(|m| Case {
        activation: Activation::Linear,
        ..case(50, m, 60, 0.9, 0.1, false)
    });
    cases.extend(linear);
    cases
}

impl Case {
    fn objective(&self) -> Objective<'_> {
        Objective {
            activation: self.activation,
            x: &self.x,
            importance: &self.importance,
            features: 1.0,
        }
    }

    fn params<T: Real>(&self) -> Params<T> {
        let b: Vec<T> = self.b.iter().map(|&b| T::from_f64(b)).collect();
        let w = self.w.iter().map(|&w| T::from_f64(w));
        Params::from_values(self.n, self.m, w, &b, None)
    }

    /// The gradient by the choice: W's part in row-major order, then b's.
    fn found<T: Real>(&self, isa: Isa, kernel: Kernel) -> Vec<T> {
        let (params, never) = ([self.params::<T>()], AtomicBool::new(false));
        let choice = Choice { isa, kernel };
        let all = gradients(&params, &self.objective(), choice, 1e-3, &never);
        let (mut dw, db) = all.unwrap().remove(0);
        dw.extend(db);
        dw
    }

    /// The same by the formula, and the loss.
    fn wanted(&self) -> (f64, Vec<f64>) {
        let Case { n, m, x, w, b, .. } = self;
        let (n, m) = (*n, *m);
        let (mut loss, mut gradient) = (0.0, vec![0.0; n * m + n]);
        let scale = 1.0 / x.rows() as f64;
        for t in 0..x.rows() {
            let range = x.indptr[t]..x.indptr[t + 1];
            let mut dense = vec![0.0; n];
            for e in range {
                dense[x.indices[e] as usize] = x.values[e];
            }
            let column = |k: usize| (0..n).map(|j| w[k * n + j] * dense[j]).sum();
            let h: Vec<f64> = (0..m).map(column).collect();
            let mut c = vec![0.0; m];
            for j in 0..n {
                let z = (0..m).map(|k| w[k * n + j] * h[k]).sum::<f64>() + b[j];
                let active = z > 0.0 || self.activation == Activation::Linear;
                let r = if active { z } else { 0.0 } - dense[j];
                loss += scale * self.importance[j] * r * r;
                let r = if active {
                    2.0 * scale * self.importance[j] * r
                } else {
                    0.0
                };
                gradient[n * m + j] += r;
                for k in 0..m {
                    gradient[k * n + j] += r * h[k];
                    c[k] += r * w[k * n + j];
                }
            }
            for k in 0..m {
                (0..n).for_each(|j| gradient[k * n + j] += dense[j] * c[k]);
            }
        }
        (loss, gradient)
    }
}

/// The distance of two gradients as a share of the size of the second.
fn distance<T: Real>(found: &[T], want: &[f64]) -> f64 {
    assert_eq!(found.len(), want.len());
    let squares = found
        .iter()
        .zip(want)
        .map(|(f, w)| (f.to_f64() - w).powi(2));
    let size: f64 = want.iter().map(|w| w * w).sum();
    (squares.sum::<f64>() / size.max(f64::MIN_POSITIVE)).sqrt()
}

#[test]
fn every_kernel_gives_the_gradient_of_the_formula() {
    for case in cases() {
        let (_, want) = case.wanted();
        for kernel in Kernel::ALL {
            let name = format!("n = {}, m = {}, {}", case.n, case.m, kernel.name());
            let found = case.found::<f64>(Isa::Portable, kernel);
            assert!(distance(&found, &want) < 1e-13, "{name}");
            let found = case.found::<f32>(Isa::Portable, kernel);
            assert!(distance(&found, &want) < 1e-5, "{name}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for case in cases() {
        for kernel in [Kernel::Dense, Kernel::Lists] {
            let bits = |isa| {
                let single = case.found::<f32>(isa, kernel);
                let double = case.found::<f64>(isa, kernel);
                let single = single.iter().map(|x| u64::from(x.to_bits()));
                single
                    .chain(double.iter().map(|x| x.to_bits()))
                    .collect::<Vec<_>>()
            };
            let want = bits(Isa::Portable);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
                assert!(bits(isa) == want, "m = {}, {}", case.m, isa.name());
            }
        }
    }
}

#[test]
fn the_loss_is_that_of_the_formula_and_rises_as_the_gradient_says() {
    let never = AtomicBool::new(false);
    for mut case in cases() {
        let (want, gradient) = case.wanted();
        let params = case.params::<f64>();
        let found = loss_and_grad(&params, &case.objective(), Isa::Portable, &never);
        assert!((found.unwrap().0 - want).abs() < 1e-13 * want.max(1.0));
        let (size, step) = (case.n * case.m, 1e-6);
        for at in (0..gradient.len()).step_by(gradient.len() / 7 + 1) {
            let mut moved = |by: f64| {
                let place = if at < size {
                    &mut case.w[at]
                } else {
                    &mut case.b[at - size]
                };
                *place += by;
                case.wanted().0
            };
            let (above, below) = (moved(step), moved(-2.0 * step));
            moved(step);
            let slope = (above - below) / (2.0 * step);
            assert!(
                (slope - gradient[at]).abs() < 1e-6,
                "{slope} {}",
                gradient[at]
            );
        }
    }
}

#[test]
fn a_small_error_beside_a_large_output_is_not_lost() {
    let never = AtomicBool::new(false);
    for activation in [Activation::Relu, Activation::Linear] {
        let mut params = Params::<f64>::zeros(3, 3);
        params.data[at(3, 0, 0)] = 1.0;
        params.data[at(3, 2, 2)] = 1.0;
        for indices in [vec![0, 1], vec![1, 0]] {
            let values = indices.iter().map(|&j| [1e8, 1.0][j as usize]).collect();
            let x = Csr {
                indptr: vec![0, 2],
                indices,
                values,
            };
            let objective = Objective {
                activation,
                x: &x,
                importance: &[1.0; 3],
                features: 1.0,
            };
            for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
                let found = loss_and_grad(&params, &objective, isa, &never);
                assert_eq!(found.unwrap().0, 1.0);
            }
        }
    }
}

#[test]
fn examples_that_do_not_fit_are_refused() {
    let case = case(5, 2, 3, 0.5, 0.0, true);
    let never = AtomicBool::new(false);
    let refused = |change: &dyn Fn(&mut Csr)| {
        let mut x = case.x.clone();
        change(&mut x);
        let objective = Objective {
            x: &x,
            ..case.objective()
        };
        let params = case.params::<f64>();
        loss_and_grad(&params, &objective, Isa::Portable, &never).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|x| x.indices[0] = 5));
    assert!(refused(&|x| x.values.push(1.0)));
    assert!(refused(&|x| x.indptr[1] = usize::MAX));
    assert!(refused(&|x| x.indptr[0] = 1));
    assert!(refused(&|x| *x.indptr.last_mut().unwrap() += 1));
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let case = case(5, 2, 3, 0.5, 0.0, true);
    let never = AtomicBool::new(false);
    let choice = Choice {
        isa: Isa::Portable,
        kernel: Kernel::Lists,
    };
    let refused = |sequence: &[Params<f64>], change: &dyn Fn(&mut Objective<'_>)| {
        let mut objective = case.objective();
        change(&mut objective);
        gradients(sequence, &objective, choice, f64::NAN, &never).is_err()
    };
    let (good, nothing) = ([case.params()], Csr::default());
    assert!(!refused(&good, &|_| {}) && !refused(&[], &|_| {}));
    assert!(!refused(&good, &|o| o.features = f64::NAN));
    const WEIGHTS: [f64; 5] = [f64::NAN; 5];
    assert!(!refused(&good, &|o| o.importance = &WEIGHTS));
    for len in [0, 4] {
        assert!(refused(&good, &|o| o.importance = &WEIGHTS[..len]));
    }
    // Without an entry in indptr, and without an example.
    let empty = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    for x in [nothing, empty] {
        let objective = Objective {
            x: &x,
            ..case.objective()
        };
        assert!(gradients(&good, &objective, choice, 0.0, &never).is_err());
    }
    for (n, m) in [(0, 2), (5, 0), (0, 0), (4, 2)] {
        assert!(refused(&[Params::zeros(n, m)], &|_| {}));
    }
    // The same number of numbers in all, in another shape.
    let others = [Params::<f64>::zeros(9, 7), Params::zeros(8, 8)];
    assert_eq!(others[0].data.len(), others[1].data.len());
    let ones = [1.0; 9];
    let x = &case.x;
    let objective = Objective {
        x,
        importance: &ones,
        ..case.objective()
    };
    assert!(gradients(&others, &objective, choice, 0.0, &never).is_err());
    assert!(gradients(&others[..1], &objective, choice, 0.0, &never).is_ok());
}
