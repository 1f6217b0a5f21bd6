//! libtorch's number of threads while each processor core trains its own networks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// How many are at it, and libtorch's number before the first: it is one per process, so that a second would find the first's.
static AT_IT: Mutex<(usize, i32)> = Mutex::new((0, 0));

/// While this lives, threads may set libtorch's number for themselves; when dropped, however that comes about, it is as before.
pub(super) struct Threads {
    pub(super) before: i32,
}

impl Threads {
    pub(super) fn new() -> Threads {
        let mut at_it = locked(&AT_IT);
        if at_it.0 == 0 {
            at_it.1 = tch::get_num_threads();
        }
        at_it.0 += 1;
        Threads { before: at_it.1 }
    }

    /// How many threads are of use for so many jobs: as many as wanted, by default libtorch's number.
    pub(super) fn count(&self, wanted: Option<usize>, jobs: usize) -> usize {
        wanted.unwrap_or(self.before.max(1) as usize).min(jobs).max(1)
    }

    /// Does the jobs on so many threads, in their order until one fails; `worker` makes what each thread owns.
    pub(super) fn share_out<J: Send, W: FnMut(J) -> Result<()> + Send>(
        &self,
        jobs: Vec<J>,
        threads: usize,
        worker: impl Fn() -> W,
    ) -> Result<()> {
        let (jobs, failed) = (Mutex::new(jobs.into_iter()), AtomicBool::new(false));
        let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let start = |mut work: W| {
                let (jobs, failed) = (&jobs, &failed);
                scope.spawn(move || {
                    // One thread each: the networks are too small to be shared out.
                    tch::set_num_threads(1);
                    while !failed.load(Ordering::Relaxed) {
                        let Some(job) = locked(jobs).next() else { break };
                        work(job).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                    }
                    Ok(())
                })
            };
            let workers: Vec<_> = (0..threads).map(|_| start(worker())).collect();
            let ended = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                worker.join().unwrap_or_else(|_| Err(Error::Unsupported("a thread of the retraining panicked".into())))
            };
            workers.into_iter().map(ended).collect()
        });
        outcomes.into_iter().collect()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Threads {
    fn drop(&mut self) {
        locked(&AT_IT).0 -= 1;
        tch::set_num_threads(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn elsewhere() -> i32 {
        std::thread::spawn(tch::get_num_threads).join().unwrap()
    }

    /// The only test of this binary that sets the number.
    #[test]
    fn the_number_of_threads_is_restored_whatever_happens() {
        tch::set_num_threads(3);
        let (train, test) = dataset::digits().unwrap().split(40, 5, 0).unwrap();
        let halves = Subsets::fraction(&train, 0.5, 4, 0).unwrap();
        let trainer = Trainer { epochs: 1, ..default() };
        let logistic = || Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
        let nowhere = logistic().with_measurement(|o: &Tensor, _: &Tensor| o.select(1, 0) * f64::NAN);
        // The threads that train have no name, that of a test has one.
        let panicking = Task::new(|p: &nn::Path| {
            let inner = Logistic::new(p, 64, 10);
            move |x: &Tensor, tape: &mut Tape| match std::thread::current().name() {
                Some(_) => inner.forward(x, tape),
                None => panic!("out of order"),
            }
        });
        for (name, task, well) in [("well", logistic(), true), ("error", nowhere, false), ("panic", panicking, false)] {
            let how = Retraining { trainer: trainer.clone(), threads: Some(2), ..default() };
            let outcome = how.run(&task, &train, &test, &halves);
            assert_eq!(outcome.is_ok(), well, "{name}: {:?}", outcome.err());
            assert_eq!((tch::get_num_threads(), elsewhere()), (3, 3), "{name}");
        }
        // A second that starts while the first is at it.
        let first = Threads::new();
        std::thread::spawn(|| tch::set_num_threads(1)).join().unwrap();
        let second = std::thread::spawn(Threads::new).join().unwrap();
        drop(first);
        drop(second);
        assert_eq!(elsewhere(), 3);
    }
}
