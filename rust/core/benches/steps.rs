//! Trainings of a few steps, whose instructions `benches/instructions.py` counts.
//!
//! Without arguments the names of the shapes are printed, one a line; `SHAPE STEPS` trains that shape
//! for that many steps, on one thread, and prints nothing.

use std::sync::atomic::{AtomicBool, AtomicU64};

use toysup_core::{
    Activation, Choice, Init, Isa, Keep, Kernel, Kind, Schedule, Settings, Sparsity, Spec,
    on_threads, train,
};

/// A model, its examples and the kernel. W and b do not move far, so that all steps cost alike.
struct Shape {
    name: &'static str,
    n: usize,
    m: usize,
    examples: u64,
    infinite: bool,
    kernel: Kernel,
    /// b at the beginning: with lists it leaves few pairs.
    bias: f64,
}

const DENSE: Shape = Shape {
    name: "dense m=2",
    n: 1000,
    m: 2,
    examples: 1000,
    infinite: false,
    kernel: Kernel::Dense,
    bias: 0.0,
};

const LISTS: Shape = Shape {
    name: "lists of blocks m=2",
    kernel: Kernel::Lists,
    bias: -0.02,
    ..DENSE
};

const SHAPES: [Shape; 7] = [
    DENSE,
    Shape {
        name: "dense m=16",
        m: 16,
        examples: 200,
        ..DENSE
    },
    LISTS,
    Shape {
        name: "lists by group m=2",
        examples: 190,
        ..LISTS
    },
    Shape {
        name: "lists by feature m=16",
        m: 16,
        ..LISTS
    },
    Shape {
        name: "fresh batches",
        examples: 100,
        infinite: true,
        ..DENSE
    },
    Shape {
        name: "large T",
        examples: 20_000,
        ..LISTS
    },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [name, steps] if *steps != "--bench" => {
            let shape = SHAPES.iter().find(|shape| shape.name == *name);
            let steps = steps.parse().expect("a number of steps");
            run(shape.expect("the name of a shape"), steps);
        }
        _ => SHAPES.iter().for_each(|shape| println!("{}", shape.name)),
    }
}

/// Train a shape.
fn run(shape: &Shape, steps: u64) {
    let isa = Isa::current().expect("an instruction set of this processor");
    let choice = Choice {
        isa,
        kernel: shape.kernel,
    };
    let (never, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let trained = on_threads(1, || {
        let keep = Keep {
            wanted: &never,
            give: &mut |_| {},
        };
        train::<f32>(&spec(shape, steps), choice, None, &never, &done, keep)
    });
    assert!(!trained.expect("nobody cancels").diverged);
}

/// The training of a shape.
fn spec(shape: &Shape, steps: u64) -> Spec {
    let Shape { n, m, .. } = *shape;
    Spec {
        n,
        m,
        activation: Activation::Relu,
        batch: shape.examples,
        examples: shape.examples,
        copies: Vec::new(),
        infinite: shape.infinite,
        rows: None,
        sparsity: Sparsity::All(0.99),
        normalize: true,
        importance: vec![1.0; n],
        seed: 0,
        init_seed: 0,
        init: Init::XavierNormal,
        given: None,
        biases: vec![shape.bias; n],
        mean: true,
        optimizer: Settings {
            kind: Kind::AdamW,
            learning_rate: 1e-5,
            final_rate: 0.0,
            warmup_steps: 0,
            steps,
            schedule: Schedule::Constant,
            betas: (0.9, 0.999),
            momentum: 0.0,
            eps: 1e-8,
            weight_decay: 0.01,
            decay_bias: true,
            learn_bias: true,
        },
        test_size: 0,
        history_test: 0,
        record_steps: vec![steps],
        snapshot_steps: Vec::new(),
    }
}
