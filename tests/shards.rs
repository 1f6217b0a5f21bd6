//! Retraining shared out over processes.

use ascribe::prelude::*;

use crate::tasks::{self, Folder, assert_close, clusters, says};

#[test]
fn two_shards_in_one_folder_do_what_one_process_does() {
    let (train, test) = (clusters(30, 1), clusters(36, 2).select(&[30, 31, 32]).unwrap());
    let halves = Subsets::fraction(&train, 0.5, 5, 0).unwrap();
    let how =
        Retraining { trainer: Trainer { epochs: 2, batch_size: 8, ..default() }, runs: 2, side_by_side: Some(2), ..default() };
    let alone = how.run(&tasks::mlp(), &train, &test, &halves).unwrap();
    let folder = Folder::new("shards");
    let kept = how.clone().cached(&folder.0);
    // At the same time, as two processes would.
    let parts: Vec<Retrained> = std::thread::scope(|scope| {
        let start = |index| {
            let (kept, train, test, halves) = (kept.clone(), train.clone(), test.clone(), halves.clone());
            scope.spawn(move || {
                let own = halves.shard(Shard { index, count: 2 }).unwrap();
                kept.run(&tasks::mlp(), &train, &test, &own).unwrap()
            })
        };
        [start(0), start(1)].map(|worker| worker.join().unwrap()).into()
    });
    assert_eq!(parts[0].subsets().numbers(), [0, 2, 4]);
    assert_eq!(parts[1].subsets().numbers(), [1, 3]);
    for part in &parts {
        let places = Tensor::from_slice(&part.subsets().numbers().iter().map(|&at| at as i64).collect::<Vec<_>>());
        assert_close(part.tensor(), &alone.tensor().index_select(0, &places), 1e-5, "a shard");
    }
    let files = || {
        let all = std::fs::read_dir(&folder.0).unwrap().map(|file| {
            let file = file.unwrap();
            (file.file_name(), file.metadata().unwrap().modified().unwrap())
        });
        all.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files();
    assert_eq!(before.len(), 11);
    let whole = kept.run(&tasks::mlp(), &train, &test, &halves).unwrap();
    assert_close(whole.tensor(), alone.tensor(), 1e-5, "both shards");
    assert_eq!(files(), before, "nothing is trained again");
}

#[test]
fn what_shards_refuse() {
    let halves = Subsets::fraction(&clusters(9, 1), 0.5, 2, 0).unwrap();
    says(halves.shard(Shard { index: 2, count: 2 }), &["Shard.index", "0 to 1"]);
    says(halves.shard(Shard { index: 2, count: 3 }), &["at least one place"]);
}

#[test]
fn everything_differs_by_seeds_alone() {
    let (train, test) = (clusters(30, 1), clusters(36, 2).select(&[30, 31, 32]).unwrap());
    let how = Retraining { trainer: Trainer { epochs: 2, batch_size: 8, ..default() }, ..default() };
    let networks = how.run(&tasks::mlp(), &train, &test, &Subsets::everything(&train, 3).unwrap()).unwrap();
    for number in [0, 2] {
        let one = tasks::mlp().train(&how.trainer_of(number, 0), &train).unwrap();
        let expected = one.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap();
        assert_close(&networks.tensor().get(number as i64).get(0), &expected, 1e-5, "the trainer of its number");
    }
    assert!(tasks::difference(&networks.tensor().get(0), &networks.tensor().get(1)) > 0.01);
}
