//! Many runs at once: one run a thread, the longest first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::train::{Choice, Outcome, Spec, train};

/// The type of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// A run to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to train.
    pub spec: Spec,
    /// In which precision.
    pub dtype: Dtype,
    /// Work of one update, in any unit: orders the runs and weighs progress.
    pub cost: f64,
}

/// An outcome in either precision.
#[derive(Debug, Clone)]
pub enum AnyOutcome {
    /// Single precision.
    F32(Outcome<f32>),
    /// Double precision.
    F64(Outcome<f64>),
}

/// What the caller and the runs share.
#[derive(Debug)]
pub struct Control {
    /// Set to stop: runs end within a block of examples.
    pub cancel: AtomicBool,
    steps_done: Vec<AtomicU64>,
}

impl Control {
    /// For that many runs.
    pub fn new(runs: usize) -> Self {
        let steps_done = (0..runs).map(|_| AtomicU64::new(0)).collect();
        Control {
            cancel: AtomicBool::new(false),
            steps_done,
        }
    }

    /// Work done so far, in the unit of [`Job::cost`].
    pub fn work(&self, jobs: &[Job]) -> f64 {
        let one =
            |(job, steps): (&Job, &AtomicU64)| job.cost * steps.load(Ordering::Relaxed) as f64;
        jobs.iter().zip(&self.steps_done).map(one).sum()
    }
}

/// Do all jobs on `threads` threads of a pool of their own. `on_end` is called, on those threads,
/// when a run ends; a run that panics ends with [`Error::Panicked`], and the others go on.
///
/// # Errors
/// If the threads cannot be made.
pub fn train_many(
    jobs: &[Job],
    threads: usize,
    choice: Choice,
    control: &Control,
    on_end: &(dyn Fn(usize, Result<AnyOutcome>) + Sync),
) -> Result<()> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    let total = |i: usize| jobs[i].cost * jobs[i].spec.optimizer.steps as f64;
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    let pool = pool(threads)?;
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| {
        while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            if control.cancel.load(Ordering::Relaxed) {
                break;
            }
            let run = || one(&jobs[i], choice, &control.cancel, &control.steps_done[i]);
            let ended = catch_unwind(AssertUnwindSafe(run));
            on_end(
                i,
                ended.unwrap_or_else(|panic| Err(Error::Panicked(message(&*panic)))),
            );
        }
    });
    Ok(())
}

/// Do `work` in a pool of its own with that many threads.
///
/// # Errors
/// If the threads cannot be made, or those of `work`.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    pool(threads)?.install(work)
}

fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|i| format!("toysup-{i}"))
        .build()
        .map_err(|error| Error::Invalid(format!("cannot start {threads} threads: {error}")))
}

fn one(job: &Job, choice: Choice, cancel: &AtomicBool, steps: &AtomicU64) -> Result<AnyOutcome> {
    Ok(match job.dtype {
        Dtype::F32 => AnyOutcome::F32(train(&job.spec, choice, cancel, steps)?),
        Dtype::F64 => AnyOutcome::F64(train(&job.spec, choice, cancel, steps)?),
    })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".into())
}
