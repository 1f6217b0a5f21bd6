//! Files of the papers: made by the golden script, and the published ones where they are at hand.

use std::path::PathBuf;

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind};

use super::{golden, numbers};
use crate::tasks::{Folder, says};

#[test]
fn d_trak() {
    let name = "ddpm-train-keys-0-100-4-mean-squared-l2-norm-uniform.npy";
    let gradients = read::d_trak(golden(name)).unwrap();
    let said = (gradients.side.as_str(), gradients.split.as_str(), gradients.n_timesteps, gradients.dim);
    assert_eq!(said, ("train", "0", 100, 4));
    assert_eq!((gradients.function.as_str(), gradients.timesteps.as_str()), ("mean-squared-l2-norm", "uniform"));
    assert_eq!(gradients.values.size(), [2, 4]);
    assert_eq!(numbers(&gradients.values), (0..8).map(f64::from).collect::<Vec<_>>());

    let folder = Folder::new("d-trak");
    let bytes = std::fs::read(golden(name)).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let troj = read::d_trak(write("ddpm-gen-sampling-troj-keys-0-10-8-loss-uniform.npy", &bytes)).unwrap();
    assert_eq!((troj.side.as_str(), troj.values.size()), ("gen-sampling-troj", vec![1, 8]));
    let lora = read::d_trak(write("sd-lora-val-keys-3-10-2-loss-uniform.npy", &bytes)).unwrap();
    assert_eq!((lora.side.as_str(), lora.split.as_str(), lora.values.size()), ("sd-lora-val", "3", vec![4, 2]));
    says(read::d_trak(write("ddpm-val-keys-0-10-5-loss-uniform.npy", &bytes)), &["Z", "20 bytes", "32 bytes"]);
    says(read::d_trak(write("ddpm-val-keys-0-10-0-loss-uniform.npy", &bytes)), &["expected a name like"]);
    says(read::d_trak(write("gradients.npy", &bytes)), &["expected a name like", "gradients.npy"]);
    let headed = std::fs::read(golden("float32.npy")).unwrap();
    says(read::d_trak(write("ddpm-gen-keys-0-10-1-loss-uniform.npy", &headed)), &["NPY header", "read::npy"]);
    says(read::npy(golden(name)), &["no NPY header", "read::raw"]);
    says(read::raw(golden(name), &[3, 3], Kind::Float), &["[3, 3]", "36 bytes", "32"]);

    let losses = read::d_trak_losses(golden("e-100-val.pkl")).unwrap();
    assert_eq!(losses.size(), [4, 5]);
    assert_eq!(numbers(&losses), (0..20).map(|i| f64::from(10 * (i / 5) + i % 5)).collect::<Vec<_>>());
    assert_eq!(numbers(&read::d_trak_scores(golden("scores.pkl")).unwrap()), [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]);
    says(read::d_trak_losses(golden("scores.pkl")), &["a list", "tensor [2, 3]"]);
    let latents = write("gen_latents.npy", &vec![0; 4 * 50 * 3 * 32 * 32]);
    assert_eq!(read::gen_latents(latents).unwrap().size(), [1, 50, 3, 32, 32]);
}

#[test]
fn indices_and_supports() {
    assert_eq!(read::indices(golden("idx-train.pkl")).unwrap(), [17488, 17769, 25061]);
    assert_eq!(read::indices(golden("kept.pkl")).unwrap(), [0, 3, 6, 9]);
    assert_eq!(read::indices(golden("indices.txt")).unwrap(), [4, 0, 17]);
    says(read::indices(golden("support-none.pkl")), &["integers", "int -1"]);
    says(read::indices(golden("scores.pkl")), &["integers", "tensor"]);
    says(read::bytes::indices(b"3\n4 5\n"), &["line 2", "4 5"]);
    says(read::bytes::indices(b"3\n-4\n"), &["from 0", "-4"]);
    assert_eq!(read::pickle(golden("support.pkl")).unwrap().int().unwrap(), 160);
    assert_eq!(read::pickle(golden("support-none.pkl")).unwrap().int().unwrap(), -1);
}

#[test]
fn simple() {
    let by_position = read::simple_top_k(golden("topk-position.npy"), &[70, 20]).unwrap();
    assert_eq!(numbers(&by_position.train), [5.0, 0.0, 2.0, 9.0, 8.0, 7.0]);
    says(read::simple_top_k(golden("topk-position.npy"), &[70]), &["10000 rows", "got 2"]);
    says(read::simple_top_k(golden("float32.npy"), &[0, 1]), &["integer matrix", "Float"]);

    let folder = Folder::new("simple");
    let path = folder.0.join("by_id.npy");
    let matrix = Tensor::zeros([10_000, 2], (Kind::Int64, Device::Cpu));
    for (id, value) in [(70, 5), (20, 9)] {
        let _ = matrix.get(id).fill_(value);
    }
    matrix.write_npy(&path).unwrap();
    let by_id = read::simple_top_k(&path, &[70, 20]).unwrap();
    assert_eq!((by_id.test, numbers(&by_id.train)), (vec![70, 20], vec![5.0, 5.0, 9.0, 9.0]));
    says(read::simple_top_k(&path, &[70, 21]), &["test example 21", "all zero"]);
    says(read::simple_top_k(&path, &[10_000]), &["0 to 9999", "10000"]);
}

#[test]
fn bayesian() {
    let table = read::bayesian_scores(golden("attribution_ckpt_3.csv")).unwrap();
    assert_eq!((table.test, table.train), (vec![7, 2], vec![40, 12, 3]));
    assert_eq!(table.values.size(), [2, 3]);
    let expected = Tensor::from_slice(&[0.5f32, 2.0, -4.5, -1e-3, 0.25, 1.0]).view([2, 3]);
    assert!(table.values.equal(&expected));
    let csv = |text: &str| read::bytes::bayesian_scores(text.as_bytes());
    let numbered = csv(",train_idx,z_test_7\n0,40,1.5\n").unwrap();
    assert_eq!((numbered.train, numbers(&numbered.values)), (vec![40], vec![1.5]));
    says(csv(""), &["empty"]);
    says(csv("train_idx,label\n"), &["label", "z_test_"]);
    says(csv("train_idx,z_test_1\n3,x\n"), &["line 2, column 2", "finite number", "\"x\""]);
    says(csv("train_idx,z_test_1\n3,nan\n"), &["line 2, column 2", "nan"]);
    says(csv("train_idx,z_test_1\n3\n"), &["line 2", "2 cells", "1"]);
    says(csv("train_idx,z_test_1\n3,1\n3,2\n"), &["train id 3", "twice"]);
    says(csv("train_idx,train_idx,z_test_1\n"), &["one column train_idx", "2"]);
}

#[test]
fn traker() {
    let folder = read::traker(golden("traker")).unwrap();
    assert_eq!((folder.dim, folder.matrix.as_str(), folder.n_train), (8, "normal", 20));
    assert_eq!(folder.models.iter().map(|model| model.id).collect::<Vec<_>>(), [0, 1]);
    let scores = &folder.experiments[0];
    assert_eq!((scores.name.as_str(), scores.n_test, scores.is_finalized), ("digits", 3, true));
    let returned = read::npy(golden("traker-scores.npy")).unwrap();
    assert!(scores.scores.equal(&returned.tr()));
    // Each part was read into its place: the library's formula gives its scores back.
    let mut kernel = Tensor::zeros([3, 20], (Kind::Float, Device::Cpu));
    let mut weights = Tensor::zeros([1, 20], (Kind::Float, Device::Cpu));
    for model in &folder.models {
        assert_eq!((model.is_finalized, model.grads.as_ref().unwrap().size()), (true, vec![20, 8]));
        assert_eq!(numbers(&model.is_featurized), [1.0; 20]);
        let (name, target) = &model.target_grads[0];
        assert_eq!(name, "digits");
        kernel += target.matmul(&model.features.tr()) / 2.0;
        weights += model.out_to_loss.tr() / 2.0;
    }
    let error = (kernel * weights - &scores.scores).abs().max().double_value(&[]);
    let largest = scores.scores.abs().max().double_value(&[]);
    assert!(error < 1e-5 * largest, "{error} of {largest}");
}

#[test]
fn traker_folders_that_are_not_whole() {
    let folder = Folder::new("traker");
    copy(&golden("traker"), &folder.0);
    let flags = folder.0.join("1/_is_featurized.mmap");
    let whole = std::fs::read(&flags).unwrap();
    let mut partial = whole.clone();
    let len = partial.len();
    partial[len - 8..].fill(0); // the last two int32
    std::fs::write(&flags, &partial).unwrap();
    says(read::traker(&folder.0), &["1/_is_featurized.mmap", "2 of 20", "first is 18"]);
    std::fs::write(&flags, &whole).unwrap();
    std::fs::remove_file(folder.0.join("0/grads.mmap")).unwrap();
    assert!(read::traker(&folder.0).unwrap().models[0].grads.is_none());
    let replace = |file: &str, text: &str| std::fs::write(folder.0.join(file), text).unwrap();
    let note = r#"{"JL dimension": 9, "JL matrix type": "normal", "train set size": 20}"#;
    replace("metadata.json", note);
    says(read::traker(&folder.0), &["0/digits_grads.mmap", "[3, 9]", "[3, 8]"]);
    replace("metadata.json", &note.replace('9', "8"));
    replace("experiments.json", r#"{"../secret": {"num_targets": 3, "scores_finalized": 1}}"#);
    says(read::traker(&folder.0), &["../secret", "plain file name"]);
    replace("experiments.json", "{");
    says(read::traker(&folder.0), &["experiments.json", "JSON"]);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn published_files() {
    let Some(data) = std::env::var_os("ASCRIBE_DATA") else {
        eprintln!("SKIPPED published_files: ASCRIBE_DATA is not set");
        return;
    };
    let papers = PathBuf::from(data).join("papers");
    if !papers.exists() {
        eprintln!("SKIPPED published_files: {} does not exist", papers.display());
        return;
    }
    let seeds = read::torch(papers.join("bayesian-tda/random_seeds.pt")).unwrap().ints().unwrap();
    assert_eq!(seeds, SEEDS);
    for (task, n_test) in [("cifar10", 500), ("mnist3", 900)] {
        let test = read::indices(papers.join(format!("bayesian-tda/data/{task}/test_subset.txt"))).unwrap();
        assert_eq!(test.len(), n_test);
        assert!(test.iter().all(|index| *index < 10_000));
    }
    let train = read::indices(papers.join("d-trak-cifar2/idx-train.hf-order.txt")).unwrap();
    assert_eq!((train.len(), &train[..3]), (5000, &[17488, 17769, 25061][..]));
    let masks = read::npy(papers.join("d-trak-cifar2/lds-val-masks-packbits-256x5000.npy")).unwrap();
    assert_eq!((masks.kind(), masks.size()), (Kind::Uint8, vec![256, 625]));
    // Each subset keeps half of the 5,000 train examples.
    let kept = |row: i64| -> u32 {
        let bytes = Vec::<u8>::try_from(&masks.get(row).contiguous()).unwrap();
        bytes.iter().map(|byte| byte.count_ones()).sum()
    };
    assert!((0..256).all(|row| kept(row) == 2500));
}

/// Printed by Python's `torch.load`.
const SEEDS: [i64; 10] = [446, 724, 571, 296, 854, 968, 245, 374, 829, 470];
