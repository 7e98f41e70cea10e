//! The speed of the kernels at each m, as multiply-adds per nanosecond and per cycle.
//!
//! `cargo bench -p toysup-core --features doors` prints tables for the instruction set in use (`TOYSUP_ISA` forces
//! one), on one thread, in single precision; `-- gradients` and `-- pairs` print one of them.
//!
//! Gradients:
//!
//! A pair counts 3 m multiply-adds: z, and what it adds to both sums. The dense kernel visits all
//! pairs; only the pairs with z > 0 count for the lists, which also go through what their skins hold.
//! A time is that of a gradient within a sequence of equal parameters, so that setting up and making
//! lists drop out, less the same for a sixteenth of the examples, so that what does not grow with
//! them does; their non-zeros, one in a thousand pairs, stay. The shortest of some counts.
//!
//! Cycles are those of a chain of dependent multiplications of integers, three each on the usual
//! processors. The peak is two fused multiply-adds of whole vectors a cycle: a processor whose units
//! are half as wide as its vectors (Zen 4) can reach half of it.
//!
//! Pairs: a walk through lists of random examples of one tile, over the length of the lists, in nanoseconds
//! a pair. What a list costs by itself is in it.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use toysup_core::{
    Activation, Choice, Csr, Isa, Kernel, Objective, Params, Stream, Walk, gradients, philox, role,
    walk,
};

const N: usize = 10_240;
const EXAMPLES: u64 = 1024;
/// Examples of the time that is subtracted.
const FEW: u64 = EXAMPLES / 16;
const SIZES: [usize; 8] = [1, 2, 3, 4, 8, 16, 64, 256];
/// Lengths of lists, and m, of the table of pairs.
const LENGTHS: [usize; 7] = [2, 5, 8, 16, 32, 64, 128];
const WIDTHS: [usize; 7] = [7, 8, 16, 32, 64, 128, 256];
/// Seconds that a sequence shall take.
const SECONDS: f64 = 0.1;
/// Numbers that the parameters of a sequence may hold.
const NUMBERS: usize = 1 << 25;
/// Measurements, of which the shortest counts.
const ROUNDS: usize = 5;
/// b, as a share of the root mean square of z: with lists, few pairs are to be left.
const BIAS: f64 = -2.0;

fn main() {
    let isa = Isa::current().expect("an instruction set of this processor");
    let clock = clock();
    println!("instruction set {}, {clock:.2} GHz, one thread", isa.name());
    let wanted = |name: &str| {
        let mut names = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
        let first = names.next();
        first.is_none_or(|first| first == name || names.any(|other| other == name))
    };
    if wanted("gradients") {
        gradient_table(isa, clock);
    }
    if wanted("pairs") {
        pair_table(isa, clock);
    }
}

/// Nanoseconds a pair of lists, by m and the length of the lists.
fn pair_table(isa: Isa, clock: f64) {
    println!("\npairs of lists, 1,024 features: ns a pair (cycles a pair)");
    print!("   m");
    LENGTHS.iter().for_each(|length| print!("{length:>14}"));
    println!();
    for m in WIDTHS {
        print!("{m:4}");
        for entries in LENGTHS {
            let shape = Walk {
                n: 1024,
                m,
                entries,
            };
            let pairs = (shape.n * entries) as f64;
            let ns = 1e9 * walk::<f32>(isa, shape, (2e7 / pairs / m as f64) as usize + 5) / pairs;
            print!("{:>14}", format!("{ns:.2} ({:.1})", ns * clock));
        }
        println!();
    }
}

/// Multiply-adds of gradients.
fn gradient_table(isa: Isa, clock: f64) {
    println!("T = {EXAMPLES}, n = {N}, S = 0.999, single precision\n");
    println!(
        "kernel    m    ms/gradient    pairs    ns/pair    madds/ns    madds/cycle    of peak"
    );
    for kernel in [Kernel::Dense, Kernel::Lists] {
        for m in SIZES {
            row(Choice { isa, kernel }, m, clock);
        }
    }
}

/// Measure one kernel at one m, and print it.
fn row(choice: Choice, m: usize, clock: f64) {
    let bias = if choice.kernel == Kernel::Lists {
        BIAS
    } else {
        0.0
    };
    let (many, few) = (examples(EXAMPLES), examples(FEW));
    let (w, b) = parameters(&many, m, bias);
    let seconds = per_gradient(choice, &w, &b, &many) - per_gradient(choice, &w, &b, &few);
    let pairs = match choice.kernel {
        Kernel::Lists => positive(&many, &w, &b) - positive(&few, &w, &b),
        _ => (EXAMPLES - FEW) as usize * N,
    };
    let ns = 1e9 * seconds / pairs as f64;
    let rate = 3.0 * m as f64 / ns;
    let share = match lanes(choice.isa) {
        Some(lanes) => format!("{:.1} %", 100.0 * rate / clock / (2.0 * lanes)),
        None => "–".into(),
    };
    println!(
        "{:6}{m:5}{:15.3}{pairs:9}{ns:11.3}{rate:12.2}{:15.2}{share:>11}",
        choice.kernel.name(),
        1e3 * seconds,
        rate / clock,
    );
}

/// Lanes of a vector in single precision; None where the peak is not known.
fn lanes(isa: Isa) -> Option<f64> {
    match isa {
        Isa::Avx512 => Some(16.0),
        Isa::Avx2 => Some(8.0),
        Isa::Neon => Some(4.0),
        Isa::Portable => None,
    }
}

/// The first examples of the stream.
fn examples(count: u64) -> Csr {
    let stream = Stream::new(N, 0.999, 0, role::TRAIN, true);
    let sample = stream.sample(0, count, &AtomicBool::new(false));
    sample.expect("nobody cancels")
}

/// A random W, row-major, and b: `bias` times the root mean square of w_j . h.
fn parameters(x: &Csr, m: usize, bias: f64) -> (Vec<f32>, Vec<f32>) {
    let words = (0..(N * m) as u64 / 4).flat_map(|i| philox([0, role::INIT], [i, 0, 0, 0]));
    let w: Vec<f32> = words.map(|word| word as i64 as f32 * 2e-21).collect();
    let h = hidden(x, &w);
    let square: f64 = h.iter().map(|h| h * h).sum();
    let row = square / x.rows() as f64 / m as f64;
    let b = (0..N)
        .map(|j| {
            let square: f64 = (0..m).map(|k| f64::from(w[k * N + j]).powi(2)).sum();
            (bias * (square * row).sqrt()) as f32
        })
        .collect();
    (w, b)
}

/// h, (T, m).
fn hidden(x: &Csr, w: &[f32]) -> Vec<f64> {
    let m = w.len() / N;
    let mut h = vec![0.0; x.rows() * m];
    for (t, h) in h.chunks_exact_mut(m).enumerate() {
        for e in x.indptr[t]..x.indptr[t + 1] {
            for (k, h) in h.iter_mut().enumerate() {
                *h += x.values[e] * f64::from(w[k * N + x.indices[e] as usize]);
            }
        }
    }
    h
}

/// Number of pairs with z > 0.
fn positive(x: &Csr, w: &[f32], b: &[f32]) -> usize {
    let m = w.len() / N;
    let mut count = 0;
    for h in hidden(x, w).chunks_exact(m) {
        let mut z: Vec<f64> = b.iter().map(|&b| f64::from(b)).collect();
        for (h, w) in h.iter().zip(w.chunks_exact(N)) {
            z.iter_mut()
                .zip(w)
                .for_each(|(z, &w)| *z += h * f64::from(w));
        }
        count += z.iter().filter(|&&z| z > 0.0).count();
    }
    count
}

/// Seconds a gradient takes within a sequence.
fn per_gradient(choice: Choice, w: &[f32], b: &[f32], x: &Csr) -> f64 {
    let most = (NUMBERS / w.len()).clamp(4, 2000);
    let sequence: Vec<_> = (0..most)
        .map(|_| Params::from_values(N, w.len() / N, w.iter().copied(), b, None))
        .collect();
    let time = |count: usize| {
        let began = Instant::now();
        let never = AtomicBool::new(false);
        let ones = vec![1.0; N];
        let objective = Objective {
            activation: Activation::Relu,
            x,
            importance: &ones,
            features: N as f64,
        };
        let out = gradients(&sequence[..count], &objective, choice, 0.0, &never);
        black_box(out.expect("nobody cancels"));
        began.elapsed().as_secs_f64()
    };
    let each = (time(3) - time(1)) / 2.0;
    let count = ((SECONDS / each.max(1e-6)) as usize).clamp(3, most - 1);
    let shortest = |count: usize| {
        let times = (0..ROUNDS).map(|_| time(count));
        times.fold(f64::INFINITY, f64::min)
    };
    (shortest(count + 1) - shortest(1)) / count as f64
}

/// Cycles per nanosecond.
fn clock() -> f64 {
    const CHAIN: u64 = 20_000_000;
    let once = || {
        let mut x = black_box(0x9E37_79B9_7F4A_7C15_u64);
        let began = Instant::now();
        for _ in 0..CHAIN {
            x = x.wrapping_mul(x);
        }
        black_box(x);
        began.elapsed().as_secs_f64()
    };
    let shortest = (0..ROUNDS).map(|_| once()).fold(f64::INFINITY, f64::min);
    3.0 * CHAIN as f64 / shortest / 1e9
}
