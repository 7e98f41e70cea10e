//! Many runs at once: one run a thread, the longest first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::checkpoint::State;
use crate::error::{Error, Result};
use crate::train::{Choice, Outcome, Spec, train};

/// How long a thread waits for memory before it looks again.
const WAIT: Duration = Duration::from_millis(2);

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
    /// Bytes that the run may take.
    pub memory: u64,
    /// Where to go on, in the same precision; from the beginning if there is none.
    pub state: Option<AnyState>,
}

impl Job {
    /// Refuse what cannot be done.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong.
    pub fn check(&self) -> Result<()> {
        self.spec.check()?;
        match (&self.state, self.dtype) {
            (None, _) => Ok(()),
            (Some(AnyState::F32(state)), Dtype::F32) => state.check(&self.spec),
            (Some(AnyState::F64(state)), Dtype::F64) => state.check(&self.spec),
            _ => Err(Error::Invalid("the state is of another precision".into())),
        }
    }
}

/// A state in either precision.
#[derive(Debug, Clone)]
pub enum AnyState {
    /// Single precision.
    F32(State<f32>),
    /// Double precision.
    F64(State<f64>),
}

/// An outcome in either precision.
#[derive(Debug, Clone)]
pub enum AnyOutcome {
    /// Single precision.
    F32(Outcome<f32>),
    /// Double precision.
    F64(Outcome<f64>),
}

/// What the caller and a run share.
#[derive(Debug, Default)]
struct Slot {
    steps_done: AtomicU64,
    running: AtomicBool,
    /// The last state that nobody has taken.
    state: Mutex<Option<AnyState>>,
}

impl Slot {
    fn keep(&self, state: AnyState) {
        *self.state.lock().unwrap() = Some(state);
    }
}

/// What the caller and the runs share.
#[derive(Debug)]
pub struct Control {
    /// Set to stop: runs end within a block of examples.
    pub cancel: AtomicBool,
    slots: Vec<Slot>,
    held: Mutex<Held>,
}

/// What the runs hold that have begun and are not kept yet.
#[derive(Debug, Default)]
struct Held {
    places: usize,
    memory: u64,
}

impl Control {
    /// For that many runs.
    pub fn new(runs: usize) -> Self {
        Control {
            cancel: AtomicBool::new(false),
            slots: (0..runs).map(|_| Slot::default()).collect(),
            held: Mutex::default(),
        }
    }

    /// The runs under way, with the number of their updates so far.
    pub fn running(&self) -> Vec<(usize, u64)> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.running.load(Ordering::Relaxed))
            .map(|(i, slot)| (i, slot.steps_done.load(Ordering::Relaxed)))
            .collect()
    }

    /// Number of updates of a run so far.
    pub fn steps(&self, run: usize) -> u64 {
        self.slots[run].steps_done.load(Ordering::Relaxed)
    }

    /// The last state of a run, unless it was taken before.
    pub fn take_state(&self, run: usize) -> Option<AnyState> {
        self.slots[run].state.lock().unwrap().take()
    }

    /// What a run ended with is kept: its place and its memory are free for another one.
    pub fn release(&self, job: &Job) {
        let mut held = self.held.lock().unwrap();
        held.places -= 1;
        held.memory -= job.memory;
    }

    /// Work done so far, in the unit of [`Job::cost`].
    pub fn work(&self, jobs: &[Job]) -> f64 {
        let one =
            |(job, slot): (&Job, &Slot)| job.cost * slot.steps_done.load(Ordering::Relaxed) as f64;
        jobs.iter().zip(&self.slots).map(one).sum()
    }
}

/// What may be held at one time.
struct Limit {
    places: usize,
    memory: u64,
}

impl Limit {
    /// Whether a job can begin. One always can: whoever calls has seen to it that each alone can be
    /// done.
    fn admits(&self, job: &Job, held: &Held) -> bool {
        let fits = held.places < self.places && held.memory + job.memory <= self.memory;
        held.places == 0 || fits
    }
}

/// The next job, as soon as there is place and memory for it; None if there is none left.
fn next(
    waiting: &Mutex<Vec<usize>>,
    jobs: &[Job],
    limit: &Limit,
    control: &Control,
) -> Option<usize> {
    loop {
        let mut waiting = waiting.lock().unwrap();
        if waiting.is_empty() || control.cancel.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = control.held.lock().unwrap();
        let admitted = |&i: &usize| limit.admits(&jobs[i], &held);
        if let Some(at) = waiting.iter().position(admitted) {
            let job = waiting.remove(at);
            held.places += 1;
            held.memory += jobs[job].memory;
            return Some(job);
        }
        drop((waiting, held));
        // Meanwhile this thread helps with the steps of others.
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::sleep(WAIT);
        }
    }
}

/// Do all jobs on `threads` threads of a pool of their own, as many at a time as fit in `memory`
/// bytes. `on_end` is called, on those threads, when a run ends; a run that panics ends with
/// [`Error::Panicked`], and the others go on. A run holds its memory and its place until
/// [`Control::release`]: at most one more run than threads has begun and is not kept yet, so that
/// a thread need not wait while one run is being kept.
///
/// # Errors
/// If the threads cannot be made.
pub fn train_many(
    jobs: &[Job],
    threads: usize,
    memory: u64,
    choice: Choice,
    control: &Control,
    on_end: &(dyn Fn(usize, Result<AnyOutcome>) + Sync),
) -> Result<()> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    let total = |i: usize| jobs[i].cost * jobs[i].spec.optimizer.steps as f64;
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    let pool = pool(threads)?;
    let waiting = Mutex::new(order);
    let limit = Limit {
        places: threads.max(1) + 1,
        memory,
    };
    pool.broadcast(|_| {
        while let Some(i) = next(&waiting, jobs, &limit, control) {
            let slot = &control.slots[i];
            slot.running.store(true, Ordering::Relaxed);
            let run = || one(&jobs[i], choice, &control.cancel, slot);
            let ended = catch_unwind(AssertUnwindSafe(run));
            slot.running.store(false, Ordering::Relaxed);
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

fn one(job: &Job, choice: Choice, cancel: &AtomicBool, slot: &Slot) -> Result<AnyOutcome> {
    job.check()?;
    let (spec, steps) = (&job.spec, &slot.steps_done);
    Ok(match job.dtype {
        Dtype::F32 => {
            let state = match &job.state {
                Some(AnyState::F32(state)) => Some(state),
                _ => None,
            };
            let mut keep = |state| slot.keep(AnyState::F32(state));
            AnyOutcome::F32(train(spec, choice, state, cancel, steps, &mut keep)?)
        }
        Dtype::F64 => {
            let state = match &job.state {
                Some(AnyState::F64(state)) => Some(state),
                _ => None,
            };
            let mut keep = |state| slot.keep(AnyState::F64(state));
            AnyOutcome::F64(train(spec, choice, state, cancel, steps, &mut keep)?)
        }
    })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".into())
}
