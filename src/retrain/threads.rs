//! libtorch's number of threads while each processor core trains its own networks.

use std::sync::{Mutex, PoisonError};

/// How many are at it, and libtorch's number before the first: it is one per process, so that a second would find the first's.
static AT_IT: Mutex<(usize, i32)> = Mutex::new((0, 0));

/// While this lives, threads may set libtorch's number for themselves; when dropped, however that comes about, it is as before.
pub(super) struct Threads {
    pub(super) before: i32,
}

impl Threads {
    pub(super) fn new() -> Threads {
        let mut at_it = AT_IT.lock().unwrap_or_else(PoisonError::into_inner);
        if at_it.0 == 0 {
            at_it.1 = tch::get_num_threads();
        }
        at_it.0 += 1;
        Threads { before: at_it.1 }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        AT_IT.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
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
        let wild = Trainer { learning_rate: 1e30, optimizer: Optimizer::sgd(0.0, 0.0), epochs: 20, ..default() };
        let logistic = || Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
        // The threads that train have no name, that of a test has one.
        let panicking = Task::new(|p: &nn::Path| {
            let inner = Logistic::new(p, 64, 10);
            move |x: &Tensor, tape: &mut Tape| match std::thread::current().name() {
                Some(_) => inner.forward(x, tape),
                None => panic!("out of order"),
            }
        });
        for (name, task, trainer, well) in
            [("well", logistic(), &trainer, true), ("error", logistic(), &wild, false), ("panic", panicking, &trainer, false)]
        {
            let how = Retraining { trainer: trainer.clone(), threads: Some(2), ..default() };
            let outcome = how.run(&task, &train, &test, &halves);
            assert_eq!(outcome.is_ok(), well, "{name}: {:?}", outcome.err());
            assert_eq!((tch::get_num_threads(), elsewhere()), (3, 3), "{name}");
        }
        // A second that starts while the first is at it.
        let first = Threads::new();
        std::thread::spawn(|| tch::set_num_threads(1)).join().unwrap();
        let second = std::thread::spawn(|| Threads::new()).join().unwrap();
        drop(first);
        drop(second);
        assert_eq!(elsewhere(), 3);
    }
}
