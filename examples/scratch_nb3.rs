use ascribe::prelude::*;
use std::time::Instant;
fn show(name: &str, s: &Scores, truth: &Retrained) -> ascribe::Result<()> {
    let m = metric::mean_lds(s, truth)?;
    println!("{name}: {:?}", m.get_row(0).unwrap().0);
    Ok(())
}
fn main() -> ascribe::Result<()> {
    let (train, test) = dataset::digits()?.split(1_000, 100, 0)?;
    let untrained = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).with_measurement(Margin);
    let trainer = Trainer { epochs: 20, optimizer: Optimizer::sgd(0.9, 0.0), learning_rate: 0.05, ..default() };
    let halves = Subsets::fraction(&train, 0.5, 100, 0)?;
    let t = Instant::now();
    let truth = Retraining { trainer: trainer.clone(), runs: 1, ..default() }.run(&untrained, &train, &test, &halves)?;
    println!("100 models {:?}", t.elapsed());
    let t = Instant::now();
    let other = Subsets::fraction(&train, 0.5, 20, 1)?;
    let models = Retraining { trainer: trainer.clone(), runs: 1, keep_checkpoints: true, ..default() }
        .run(&untrained, &train, &test, &other)?;
    println!("20 models {:?}", t.elapsed());
    let mut task = untrained.clone();
    for _ in 0..5 {
        task = task.train(&trainer, &train)?;
    }
    println!("acc {}", task.accuracy(&test)?);
    for count in [1, 2, 5, 10, 20] {
        let half = untrained.clone().with_checkpoints(models.checkpoints()[..count].to_vec())?;
        for r in [0.01, 0.1, 1.0, 10.0] {
            let t = Instant::now();
            let s = Trak { damping: Damping::Relative(r), ..default() }.fit(&half, &train)?.score(&test)?;
            show(&format!("TRAK half models {count} rel {r} {:?}", t.elapsed()), &s, &truth)?;
        }
    }
    for r in [0.1, 1.0, 10.0] {
        for weighting in [true, false] {
            let s = Trak { damping: Damping::Relative(r), weighting, ..default() }.fit(&task, &train)?.score(&test)?;
            show(&format!("TRAK 5 full models, rel {r}, Q {weighting}"), &s, &truth)?;
        }
    }
    let one = untrained.clone().with_checkpoints(vec![task.checkpoints()[0].clone()])?;
    let methods: Vec<Box<dyn Method>> = vec![
        Box::new(GradDot::default()),
        Box::new(GradCos::default()),
        Box::new(Influence::new(Ekfac::default())),
        Box::new(Influence::new(ConjugateGradient {
            matrix: Matrix::GaussNewton,
            damping: Damping::Absolute(0.01),
            ..default()
        })),
        Box::new(RepresentationSimilarity::default()),
        Box::new(KnnShapley::default()),
        Box::new(Random::default()),
        Box::new(Representer::default()),
    ];
    for m in &methods {
        let t = Instant::now();
        let s = m.fit(&one, &train)?.score(&test)?;
        show(&format!("{} {:?}", m.name(), t.elapsed()), &s, &truth)?;
        let s = m.fit(&task, &train)?.score(&test)?;
        show(&format!("{} 5 models", m.name()), &s, &truth)?;
    }
    Ok(())
}
