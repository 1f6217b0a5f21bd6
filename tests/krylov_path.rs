//! One Krylov space for every damping: conjugate gradients one damping at a time, and the explicit inverse.

use ascribe::prelude::*;

use crate::tasks::{self, assert_close, clusters, difference, says};

const DAMPINGS: [f64; 3] = [1.0, 0.1, 0.01];

fn path(options: &ConjugateGradient, task: &Task, train: &Dataset, test: &Dataset) -> Result<Vec<Scores>, Error> {
    options.path(task, train)?.score(test, &DAMPINGS.map(Damping::Absolute))
}

/// On two checkpoints, with a measurement that is not the objective.
#[test]
fn the_scores_are_those_of_each_damping_alone() {
    let (train, test) = (clusters(40, 1), clusters(7, 2));
    for (name, task) in [("logistic", tasks::logistic()), ("mlp", tasks::mlp()), ("sequence", tasks::sequence())] {
        let task = task.train(&tasks::trainer(), &train).unwrap().with_measurement(Margin);
        for iterations in [1, 3, 6] {
            let options =
                ConjugateGradient { matrix: Matrix::GaussNewton, iterations, truncate: true, shared: false, ..default() };
            let found = path(&options, &task, &train, &test).unwrap();
            for (damping, found) in DAMPINGS.iter().zip(&found) {
                let alone = Influence::new(ConjugateGradient { damping: Damping::Absolute(*damping), ..options });
                let alone = alone.fit(&task, &train).unwrap().matrix(&test).unwrap();
                assert_close(found.tensor(), &alone, 2e-4, &format!("{name}, {iterations} iterations, λ {damping}"));
            }
            assert!(difference(found[0].tensor(), found[2].tensor()) > 1e-2);
        }
    }
}

/// With more products than there are directions the space closes, and the inverse is exact.
#[test]
fn a_closed_space_holds_the_solution() {
    let (train, test) = (clusters(40, 1), clusters(7, 2));
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap().last();
    let options = ConjugateGradient { iterations: 40, tolerance: 1e-4, ..default() };
    for (damping, found) in DAMPINGS.iter().zip(path(&options, &task, &train, &test).unwrap()) {
        let exact = Influence::new(Explicit { damping: Damping::Absolute(*damping), ..default() });
        assert_close(found.tensor(), &exact.fit(&task, &train).unwrap().matrix(&test).unwrap(), 1e-3, &format!("λ {damping}"));
        assert!(found.method().starts_with("Influence (conjugate gradients)"), "{}", found.method());
    }
    // Test examples of any number, also more than are treated at once, and one whose gradient is zero.
    let huge = Dataset::new(test.inputs() * 1e4, test.targets().shallow_clone()).unwrap();
    let sure = task.snapshot(0).unwrap().outputs(&huge).unwrap().argmax(-1, false);
    let zero = Dataset::new(huge.inputs().shallow_clone(), sure).unwrap();
    let none = path(&options, &task, &train, &zero).unwrap();
    assert_eq!(none[0].tensor().abs().max().double_value(&[]), 0.0);
}

#[test]
fn the_path_says_what_it_cannot_do() {
    let (train, test) = (clusters(40, 1), clusters(7, 2));
    let mlp = tasks::mlp().train(&Trainer { epochs: 1, ..tasks::trainer() }, &train).unwrap().last();
    let options = ConjugateGradient { iterations: 2, ..default() };
    let cruel = ConjugateGradient { precondition: Precondition::Diagonal, ..options };
    says(cruel.path(&mlp, &train).map(|_| ()), &["ConjugateGradient.precondition", "must not depend on the damping", "Diagonal"]);
    let gauss = ConjugateGradient { matrix: Matrix::GaussNewton, ..options };
    says(path(&gauss, &mlp, &train, &test), &["did not converge in 2 iterations", "tolerance 1e-4"]);
    let few = ConjugateGradient { iterations: 12, truncate: true, ..options };
    says(
        few.path(&mlp, &train).unwrap().score(&test, &[Damping::Absolute(1e-6)]),
        &["is not positive", "raise the damping", "GaussNewton"],
    );
    says(few.path(&mlp, &train).unwrap().score(&test, &[Damping::Absolute(-1.0)]), &["dampings", "at least 0"]);
}
