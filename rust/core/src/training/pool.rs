//! Many runs at once: one run a thread, the longest first.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::training::run::{Keep, train};
use crate::training::spec::{Choice, Outcome, Spec};
use crate::training::state::State;

/// What a thread unwinds with.
type Panic = Box<dyn Any + Send>;

/// How long a thread waits for memory before it looks again.
const WAIT: Duration = Duration::from_millis(2);
/// How long the system may count threads that have ended.
const LINGER: Duration = Duration::from_millis(5);

/// The type of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// What must be known of a run before it begins.
#[derive(Debug, Clone, Copy)]
pub struct Outline {
    /// Work of one update, in any unit: orders the runs and weighs progress.
    pub cost: f64,
    /// Number of updates.
    pub steps: u64,
    /// Bytes that the run may take.
    pub memory: u64,
    /// Threads that the run can use at one time.
    pub threads: usize,
}

/// A run to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to train.
    pub spec: Spec,
    /// In which precision.
    pub dtype: Dtype,
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
    /// Whether a state is asked for: until the next step.
    wanted: AtomicBool,
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
    /// Threads that would be of use and could not be started.
    pub missing: AtomicUsize,
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
            missing: AtomicUsize::new(0),
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

    /// Ask a run for its state, which [`Control::take_state`] gives if it can be had at its next step.
    pub fn ask(&self, run: usize) {
        self.slots[run].wanted.store(true, Ordering::Relaxed);
    }

    /// Whether the run has not come to its next step since.
    pub fn is_asked(&self, run: usize) -> bool {
        self.slots[run].wanted.load(Ordering::Relaxed)
    }

    /// The last state of a run, unless it was taken before.
    pub fn take_state(&self, run: usize) -> Option<AnyState> {
        self.slots[run].state.lock().unwrap().take()
    }

    /// What a run ended with is kept: its place and its memory are free for another one.
    pub fn release(&self, run: &Outline) {
        let mut held = self.held.lock().unwrap();
        held.places -= 1;
        held.memory -= run.memory;
    }

    /// Work done so far, in the unit of [`Outline::cost`].
    pub fn work(&self, runs: &[Outline]) -> f64 {
        let one = |(run, slot): (&Outline, &Slot)| {
            run.cost * slot.steps_done.load(Ordering::Relaxed) as f64
        };
        runs.iter().zip(&self.slots).map(one).sum()
    }
}

/// What may be held at one time.
struct Limit {
    places: usize,
    memory: u64,
}

impl Limit {
    /// Whether a run can begin. One always can: whoever calls has seen to it that each alone can be
    /// done.
    fn admits(&self, run: &Outline, held: &Held) -> bool {
        let fits = held.places < self.places && held.memory + run.memory <= self.memory;
        held.places == 0 || fits
    }
}

/// The next run, as soon as there is place and memory for it; None if there is none left.
fn next(
    waiting: &Mutex<Vec<usize>>,
    runs: &[Outline],
    limit: &Limit,
    control: &Control,
) -> Option<usize> {
    loop {
        let mut waiting = waiting.lock().unwrap();
        if waiting.is_empty() || control.cancel.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = control.held.lock().unwrap();
        let admitted = |&i: &usize| limit.admits(&runs[i], &held);
        if let Some(at) = waiting.iter().position(admitted) {
            let run = waiting.remove(at);
            held.places += 1;
            held.memory += runs[run].memory;
            return Some(run);
        }
        drop((waiting, held));
        // Meanwhile this thread helps with the steps of others.
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::sleep(WAIT);
        }
    }
}

/// Do all runs on `threads` threads of a pool of their own, or as many as they can use or can be
/// started; as many at a time as fit in `memory` bytes. `make` is asked for the job of a run when it
/// begins, on its thread, so that nothing is held of those that have not begun. `on_end` is called, on
/// those threads, when a run ends; a run that panics ends with [`Error::Panicked`], one that cannot have
/// the memory it needs with [`Error::Memory`], and the others go on. A run
/// holds its memory and its place until [`Control::release`]: at most one more run than threads has
/// begun and is not kept yet, so that a thread need not wait while one run is being kept.
///
/// # Errors
/// [`Error::Surroundings`] if not one thread can be started.
pub fn train_many(
    runs: &[Outline],
    make: &(dyn Fn(usize) -> Result<Job> + Sync),
    threads: usize,
    memory: u64,
    choice: Choice,
    control: &Control,
    on_end: &(dyn Fn(usize, Result<AnyOutcome>) + Sync),
) -> Result<()> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let total = |i: usize| runs[i].cost * runs[i].steps as f64;
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    let threads = threads.min(useful(runs, memory));
    let pool = Pool::new(threads)?;
    let missing = threads.saturating_sub(pool.threads.len());
    control.missing.store(missing, Ordering::Relaxed);
    let waiting = Mutex::new(order);
    let limit = Limit {
        places: pool.threads.len() + 1,
        memory,
    };
    pool.inner().broadcast(|_| {
        while let Some(i) = next(&waiting, runs, &limit, control) {
            let slot = &control.slots[i];
            slot.running.store(true, Ordering::Relaxed);
            let run = || {
                let job = make(i)?;
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    one(&job, choice, &control.cancel, slot)
                }));
                let Spec { n, m, batch, .. } = job.spec;
                let sizes = [n as u64, m as u64, batch];
                let error = |panic: Panic| Error::caught_in(sizes, runs[i].memory, &*panic);
                ended.unwrap_or_else(|panic| Err(error(panic)))
            };
            let ended = catch_unwind(AssertUnwindSafe(run));
            slot.running.store(false, Ordering::Relaxed);
            let error = |panic: Panic| Err(Error::caught(&*panic));
            on_end(i, ended.unwrap_or_else(error));
        }
    });
    Ok(())
}

/// Do `work` in a pool of its own with that many threads.
///
/// # Errors
/// If the threads cannot be made, or those of `work`.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    Pool::new(threads)?.inner().install(work)
}

/// Threads that the runs can use: those of as many as `memory` has room for at one time.
fn useful(runs: &[Outline], memory: u64) -> usize {
    let mut sizes: Vec<u64> = runs.iter().map(|run| run.memory).collect();
    sizes.sort_unstable();
    let sums = sizes.iter().scan(0u64, |sum, size| {
        *sum = sum.saturating_add(*size);
        Some(*sum)
    });
    let together = sums.take_while(|&sum| sum <= memory).count();
    let each = runs.iter().map(|run| run.threads).max().unwrap_or(1);
    together.max(1).saturating_mul(each)
}

/// A pool whose threads have ended when it is gone.
struct Pool {
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// With so many threads, or as many as the system allows.
    fn new(threads: usize) -> Result<Pool> {
        let mut count = threads.max(1);
        loop {
            let mut threads = Vec::new();
            let built = ThreadPoolBuilder::new()
                .num_threads(count)
                .spawn_handler(|thread| {
                    let name = format!("toysup-{}", thread.index());
                    let builder = std::thread::Builder::new().name(name);
                    threads.push(builder.spawn(move || thread.run())?);
                    Ok(())
                })
                .build();
            let error = match built {
                Ok(pool) => {
                    let pool = Some(pool);
                    return Ok(Pool { pool, threads });
                }
                Err(error) => error,
            };
            if count == 1 {
                return Err(Error::no_thread(&error));
            }
            count = threads.len().max(1);
            join(threads);
            std::thread::sleep(LINGER);
        }
    }

    fn inner(&self) -> &ThreadPool {
        self.pool.as_ref().expect("it goes with this")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.pool.take());
        join(std::mem::take(&mut self.threads));
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        // Whatever it panicked with, it has ended.
        let _ = thread.join();
    }
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
            let keep = Keep {
                wanted: &slot.wanted,
                give: &mut |state| slot.keep(AnyState::F32(state)),
            };
            AnyOutcome::F32(train(spec, choice, state, cancel, steps, keep)?)
        }
        Dtype::F64 => {
            let state = match &job.state {
                Some(AnyState::F64(state)) => Some(state),
                _ => None,
            };
            let keep = Keep {
                wanted: &slot.wanted,
                give: &mut |state| slot.keep(AnyState::F64(state)),
            };
            AnyOutcome::F64(train(spec, choice, state, cancel, steps, keep)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::kernel::Kernel;
    use crate::simd::isa::Isa;

    const CHOICE: Choice = Choice {
        isa: Isa::Portable,
        kernel: Kernel::Auto,
    };

    fn outlines(costs: &[f64]) -> Vec<Outline> {
        let outline = |&cost: &f64| Outline {
            cost,
            steps: 10,
            memory: 100,
            threads: 1,
        };
        costs.iter().map(outline).collect()
    }

    /// Which runs ended, in that order, and with what; run i begins with what `make` does.
    fn ended(
        runs: &[Outline],
        threads: usize,
        memory: u64,
        make: &(dyn Fn(usize, &Control) -> Result<Job> + Sync),
    ) -> Vec<(usize, Error)> {
        let (control, ended) = (Control::new(runs.len()), Mutex::new(Vec::new()));
        let make = |i| make(i, &control);
        let on_end = |i: usize, result: Result<AnyOutcome>| {
            ended.lock().unwrap().push((i, result.err().unwrap()));
            control.release(&runs[i]);
        };
        train_many(runs, &make, threads, memory, CHOICE, &control, &on_end).unwrap();
        assert!(control.running().is_empty());
        ended.into_inner().unwrap()
    }

    #[test]
    fn the_longest_runs_come_first_and_a_panic_ends_one_alone() {
        let runs = outlines(&[1.0, 3.0, 2.0]);
        let all = ended(&runs, 1, 1000, &|i, _| match i {
            1 => std::panic::panic_any("on purpose"),
            i => Err(Error::Invalid(format!("run {i}"))),
        });
        let invalid = |i| (i, Error::Invalid(format!("run {i}")));
        assert_eq!(
            all,
            [
                (1, Error::Panicked("on purpose".into())),
                invalid(2),
                invalid(0)
            ]
        );
    }

    #[test]
    fn every_run_ends_once_on_any_number_of_threads() {
        let runs = outlines(&[1.0; 40]);
        for threads in [1, 2, 3, 8] {
            let mut all = ended(&runs, threads, 250, &|_, _| Err(Error::Cancelled));
            all.sort_by_key(|&(i, _)| i);
            assert!(all.iter().map(|&(i, _)| i).eq(0..40));
        }
    }

    #[test]
    fn no_run_begins_after_the_stop() {
        let runs = outlines(&[1.0, 3.0, 2.0]);
        let all = ended(&runs, 1, 1000, &|_, control| {
            control.cancel.store(true, Ordering::Relaxed);
            Err(Error::Cancelled)
        });
        assert_eq!(all, [(1, Error::Cancelled)]);
    }

    #[test]
    fn as_many_threads_are_used_as_memory_has_room_for_runs() {
        let runs = outlines(&[1.0; 5]);
        assert_eq!([0, 100, 399, 400].map(|m| useful(&runs, m)), [1, 1, 3, 4]);
        assert_eq!(useful(&[], 0), 1);
    }

    #[test]
    fn work_has_the_error_it_gives() {
        assert_eq!(on_threads(2, || Ok(7)), Ok(7));
        assert_eq!(
            on_threads::<()>(0, || Err(Error::Cancelled)),
            Err(Error::Cancelled)
        );
    }
}
