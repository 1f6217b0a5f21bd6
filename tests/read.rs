//! Files of other software: what they hold is known, what is damaged says so, and nothing in them runs.

mod hostile;
mod mutation;
mod papers;

use std::path::PathBuf;

use ascribe::prelude::*;
use ascribe::read::Value;
use ascribe::tch::Kind;

use crate::tasks::says;

/// A file that tests/golden/files.py wrote.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files").join(name)
}

pub fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap()
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(&tensor.to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

const GRID: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn npy_of_every_kind() {
    let kinds = [
        ("float16", Kind::Half),
        ("float32", Kind::Float),
        ("float64", Kind::Double),
        ("int8", Kind::Int8),
        ("int16", Kind::Int16),
        ("int32", Kind::Int),
        ("int64", Kind::Int64),
        ("uint8", Kind::Uint8),
        ("uint16", Kind::Int64),
        ("uint64", Kind::Int64),
        ("big-f2", Kind::Half),
        ("big-f4", Kind::Float),
        ("big-f8", Kind::Double),
        ("big-i2", Kind::Int16),
        ("big-i4", Kind::Int),
        ("big-i8", Kind::Int64),
        ("big-u4", Kind::Int64),
        ("big-fortran", Kind::Int),
        ("version-2", Kind::Float),
        ("version-3", Kind::Float),
    ];
    for (name, kind) in kinds {
        let tensor = read::npy(golden(&format!("{name}.npy"))).unwrap();
        assert_eq!((tensor.kind(), tensor.size()), (kind, vec![2, 3]), "{name}");
        assert_eq!(numbers(&tensor), GRID, "{name}");
    }
    let bools = read::npy(golden("bool.npy")).unwrap();
    assert_eq!((bools.kind(), numbers(&bools)), (Kind::Bool, vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0]));
    let fortran = read::npy(golden("fortran.npy")).unwrap();
    assert_eq!(fortran.size(), [2, 3, 4]);
    assert_eq!(numbers(&fortran), (0..24).map(f64::from).collect::<Vec<_>>());
    let scalar = read::npy(golden("scalar.npy")).unwrap();
    assert_eq!((scalar.size(), numbers(&scalar)), (vec![], vec![2.5]));
    assert_eq!(read::npy(golden("empty.npy")).unwrap().size(), [0, 3]);
}

#[test]
fn npz_stored_and_deflated() {
    let stored = read::npz(golden("stored.npz")).unwrap();
    assert_eq!(stored.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["grid", "half"]);
    assert_eq!(numbers(&stored[0].1), GRID);
    assert_eq!((stored[1].1.kind(), numbers(&stored[1].1)), (Kind::Half, vec![0.5, 1.5]));
    let deflated = read::npz(golden("deflated.npz")).unwrap();
    assert_eq!((deflated[0].1.size(), numbers(&deflated[1].1)), (vec![30, 10], GRID.to_vec()));
}

#[test]
fn large_arrays_are_mapped_and_equal() {
    let folder = crate::tasks::Folder::new("mapped");
    let values: Vec<f32> = (0..600_000u32).map(|i| (i % 1009) as f32 - 3.5).collect();
    let tensor = Tensor::from_slice(&values).view([600, 1000]);
    let (with, without) = (folder.0.join("large.npy"), folder.0.join("bare.npy"));
    tensor.write_npy(&with).unwrap();
    std::fs::write(&without, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let mapped = [read::npy(&with).unwrap(), read::raw(&without, &[600, 1000], Kind::Float).unwrap()];
    for read in &mapped {
        assert_eq!(read.size(), [600, 1000]);
        assert!(read.equal(&tensor));
    }
    // The mapping is private: writing to the tensor leaves the file as it is.
    let before = std::fs::read(&with).unwrap();
    let _ = mapped[0].get(0).fill_(7.0);
    assert!(std::fs::read(&with).unwrap() == before);
    #[cfg(target_os = "linux")]
    {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.contains("large.npy") && maps.contains("bare.npy"), "both files are mapped");
    }
}

#[test]
fn plain_pickles_of_every_protocol() {
    for protocol in 0..6 {
        let value = read::pickle(golden(&format!("plain-{protocol}.pkl"))).unwrap();
        let get = |key: &str| value.get(key).unwrap();
        assert!(matches!(get("none"), Value::None));
        assert_eq!(get("bools").list().unwrap().iter().map(|b| b.bool().unwrap()).collect::<Vec<_>>(), [true, false]);
        let ints = [0, 255, 65535, 65536, -1, (1 << 31) - 1, -(1 << 31), 1 << 62, i64::MIN, i64::MAX];
        assert_eq!(get("ints").ints().unwrap(), ints, "protocol {protocol}");
        let floats: Vec<f64> = get("floats").list().unwrap().iter().map(|f| f.float().unwrap()).collect();
        assert_eq!(floats, [0.5, -1e300, f64::INFINITY]);
        assert_eq!(get("text").text().unwrap(), "a\nb\\ é 漢", "protocol {protocol}");
        assert_eq!(get("long").text().unwrap().len(), 300);
        for (key, expected) in [("bytes", &b"\x00\xff"[..]), ("nobytes", b""), ("bytearray", b"ab")] {
            assert!(matches!(get(key), Value::Bytes(bytes) if bytes == expected), "{key}, protocol {protocol}");
        }
        assert!(matches!(get("set"), Value::Set(items) if items[0].int().unwrap() == 3));
        assert!(matches!(get("frozen"), Value::Set(items) if items[0].int().unwrap() == 4));
        let shared: Vec<Vec<i64>> = get("shared").list().unwrap().iter().map(|l| l.ints().unwrap()).collect();
        assert_eq!(shared, [[1, 2], [1, 2]]);
        let lengths = |list: &Value| list.list().unwrap().iter().map(|t| t.list().unwrap().len()).collect::<Vec<_>>();
        assert_eq!(lengths(get("tuples")), [0, 1, 2, 3, 4]);
        assert_eq!(lengths(get("nested").get("a").unwrap().get("b").unwrap()), [0]);
        assert_eq!(get("ordered").keys(), ["z", "a"]);
        let five = value.entries().unwrap().iter().find(|(key, _)| matches!(key, Value::Int(5)));
        assert_eq!(five.unwrap().1.text().unwrap(), "five");
        says(value.get("absent").map(|_| ()), &["absent", "bools"]);
        says(get("text").int(), &["integer", "text"]);
    }
}

#[test]
fn arrays_and_scalars_in_pickles() {
    for name in ["0", "1", "2", "3", "4", "5", "numpy1"] {
        let value = read::pickle(golden(&format!("arrays-{name}.pkl"))).unwrap();
        let tensor = |key: &str| value.get(key).unwrap().tensor().unwrap();
        for (key, kind) in [("f4", Kind::Float), ("fortran", Kind::Double), ("big", Kind::Int), ("half", Kind::Half)] {
            let read = tensor(key);
            assert_eq!((read.kind(), read.size(), numbers(&read)), (kind, vec![2, 3], GRID.to_vec()), "{key}, {name}");
        }
        assert_eq!(numbers(&tensor("bool")), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!((tensor("none").size(), tensor("zero").size()), (vec![0, 2], vec![]));
        assert_eq!(value.get("zero").unwrap().int().unwrap(), 7);
    }
    for protocol in 0..6 {
        let scalars = read::pickle(golden(&format!("scalars-{protocol}.pkl"))).unwrap();
        let scalars = scalars.list().unwrap();
        assert_eq!(scalars[0].int().unwrap(), -1);
        assert_eq!(scalars[1].float().unwrap(), 0.5);
        assert!(scalars[2].bool().unwrap());
        assert_eq!(scalars[3].int().unwrap(), 200);
        assert_eq!(scalars[4].float().unwrap(), 1.5);
        assert_eq!(scalars[5].int().unwrap(), -7);
    }
}

#[test]
fn tensors_of_torch() {
    let value = read::torch(golden("tensors.pt")).unwrap();
    let tensor = |key: &str| value.get(key).unwrap().tensor().unwrap();
    let expected: [(&str, &[i64], &[f64]); 8] = [
        ("tail", &[8], &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]),
        ("transposed", &[4, 3], &[0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]),
        ("column", &[3], &[1.0, 5.0, 9.0]),
        ("expanded", &[3], &[2.0, 2.0, 2.0]),
        ("scalar", &[], &[1.5]),
        ("none", &[0, 2], &[]),
        ("parameter", &[2], &[1.0, 1.0]),
        ("base", &[12], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]),
    ];
    for (key, size, values) in expected {
        assert_eq!((tensor(key).size().as_slice(), numbers(&tensor(key)).as_slice()), (size, values), "{key}");
    }
    let kinds = [
        ("float16", Kind::Half),
        ("bfloat16", Kind::BFloat16),
        ("float64", Kind::Double),
        ("int64", Kind::Int64),
        ("int32", Kind::Int),
        ("int16", Kind::Int16),
        ("int8", Kind::Int8),
        ("uint8", Kind::Uint8),
        ("bool", Kind::Bool),
    ];
    for (key, kind) in kinds {
        assert_eq!((tensor(key).kind(), numbers(&tensor(key))), (kind, vec![0.0, 1.0, 1.0]), "{key}");
    }
    assert_eq!(value.get("shape").unwrap().ints().unwrap(), [2, 3]);
    // Views share the storage, as in Python.
    let _ = tensor("base").get(5).fill_(-1.0);
    assert_eq!((numbers(&tensor("tail"))[1], numbers(&tensor("column"))[1]), (-1.0, -1.0));
}

#[test]
fn state_dicts() {
    let names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    for file in ["state.pt", "ckpt_epoch_3.pth"] {
        let weights = read::state_dict(golden(file)).unwrap();
        assert_eq!(weights.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        for (i, (name, tensor)) in weights.iter().enumerate() {
            let expected: Vec<f64> = (0..tensor.numel()).map(|j| (i + j) as f64).collect();
            assert_eq!(numbers(tensor), expected, "{name}");
        }
    }
    let run = read::torch(golden("ckpt_epoch_3.pth")).unwrap();
    assert_eq!((run.get("epoch").unwrap().int().unwrap(), run.get("seed").unwrap().int().unwrap()), (3, 9));
    says(read::state_dict(golden("two.pt")), &["two.pt", "\"model\", \"ema\"", "state_dict_at"]);
    assert_eq!(read::state_dict_at(golden("two.pt"), "ema").unwrap().len(), 7);
    says(read::state_dict_at(golden("two.pt"), "emma"), &["emma", "\"ema\""]);
    says(read::state_dict(golden("random_seeds.pt")), &["state dict", "tensor [3]"]);
    let checkpoint = Checkpoint::load(golden("ckpt_epoch_3.pth")).unwrap();
    assert_eq!(checkpoint.tensor("0.bias").unwrap().size(), [2]);
    says(Checkpoint::load(golden("legacy.pt")), &["legacy.pt", "old torch format", "torch.save"]);
}
