//! Weights from Python: every file gives the same network, names are turned, and what does not fit is said at once.

use std::path::PathBuf;

use ascribe::prelude::*;
use ascribe::read::bytes;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, Folder, assert_close, says};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights").join(name)
}

/// Names that end in those of `tests/golden/weights.py`, whatever stands before.
const RULES: [(&str, &str); 4] = [("module.", ""), ("model.", ""), ("layers.0.", "fc1."), ("layers.2.", "fc2.")];

fn zeros(size: &[i64]) -> Tensor {
    Tensor::zeros(size, (Kind::Float, Device::Cpu))
}

#[test]
fn every_file_gives_the_same_network() {
    let (inputs, expected) = (read::npy(golden("inputs.npy")).unwrap(), read::npy(golden("outputs.npy")).unwrap());
    let data = Dataset::new(inputs, Tensor::from_slice(&[0i64; 5])).unwrap();
    let files = [
        "plain.safetensors",
        "said.safetensors",
        "bfloat16.safetensors",
        "sharded/model.safetensors.index.json",
        "sharded",
        "plain.pt",
        "parallel.pth",
        "run.pt",
        "lightning.ckpt",
        "arrays.npz",
        "compressed.npz",
        "arrays.pkl",
    ];
    for file in files {
        let checkpoint = Checkpoint::load(golden(file)).unwrap();
        assert_eq!(checkpoint.tensors().len(), 4, "{file}");
        let task = tasks::mlp().with_checkpoints(vec![checkpoint.rename(&RULES).unwrap()]).unwrap();
        let outputs = task.snapshot(0).unwrap().outputs(&data).unwrap();
        assert_close(&outputs, &expected, if file.starts_with("bf") { 1e-2 } else { 1e-6 }, file);
    }
    let said = Checkpoint::load(golden("said.safetensors")).unwrap();
    assert_eq!((said.run, said.step, said.learning_rate), (2, 31, 0.125));
}

#[test]
fn a_key_chooses_among_several_state_dicts() {
    says(Checkpoint::load(golden("two.pt")), &["checkpoint", "two.pt", "\"model\", \"ema\"", "load_at"]);
    let averaged = Checkpoint::load_at(golden("two.pt"), "ema").unwrap();
    assert_eq!(averaged.tensor("layers.0.weight").unwrap().abs().max().double_value(&[]), 0.0);
    says(Checkpoint::load_at(golden("two.pt"), "emma"), &["no state dict under \"emma\"", "\"ema\""]);
    for keyless in ["plain.safetensors", "arrays.npz"] {
        says(Checkpoint::load_at(golden(keyless), "ema"), &[keyless, "a key \"ema\"", "has none"]);
    }
}

#[test]
fn safetensors_of_every_kind() {
    let tensors = read::safetensors(golden("kinds.safetensors")).unwrap();
    let kinds = [
        ("bool", Kind::Bool),
        ("f16", Kind::Half),
        ("f64", Kind::Double),
        ("i16", Kind::Int16),
        ("i32", Kind::Int),
        ("i64", Kind::Int64),
        ("i8", Kind::Int8),
        ("u8", Kind::Uint8),
    ];
    assert_eq!(tensors.iter().map(|(name, t)| (name.as_str(), t.kind())).collect::<Vec<_>>(), kinds);
    for (name, tensor) in &tensors {
        assert_eq!((tensor.size(), crate::read::numbers(tensor)), (vec![1, 3], vec![0.0, 1.0, 1.0]), "{name}");
    }
    let sizes = read::safetensors(golden("sizes.safetensors")).unwrap();
    assert_eq!((sizes[0].1.size(), sizes[1].1.size()), (vec![0, 2], vec![]));
    assert_eq!(sizes[1].1.double_value(&[]), 1.5);
}

/// All kinds that a checkpoint may have come back as they were.
#[test]
fn what_is_saved_is_loaded() {
    let folder = Folder::new("kinds");
    let kinds = [
        Kind::Float,
        Kind::Double,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int64,
        Kind::Int,
        Kind::Int16,
        Kind::Int8,
        Kind::Uint8,
        Kind::Bool,
    ];
    let tensors = kinds.map(|kind| (format!("{kind:?}"), Tensor::from_slice(&[0i64, 1, 1]).to_kind(kind)));
    let saved = Checkpoint::new(1, 2, 0.5, tensors.into());
    saved.save(folder.0.join("all.safetensors")).unwrap();
    let back = Checkpoint::load(folder.0.join("all.safetensors")).unwrap();
    for (name, tensor) in saved.tensors() {
        let found = back.tensor(name).unwrap();
        assert_eq!((found.kind(), found.equal(tensor)), (tensor.kind(), true), "{name}");
    }
}

/// A safetensors file with this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn safetensors_headers_that_lie() {
    let of = |dtype: &str, shape: &str, offsets: &str| {
        file(&format!("{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}"), &[0; 8])
    };
    assert_eq!(bytes::safetensors(&of("F32", "[2]", "[0,8]")).unwrap()[0].1.size(), [2]);
    let whole = "not a whole and valid safetensors file";
    let cases: [(Vec<u8>, &[&str]); 16] = [
        (of("F32", "[3]", "[0,8]"), &["tensor \"a\"", "[3] of F32 takes 12 bytes", "has 8"]),
        (of("F32", "[2]", "[0,4]"), &[whole, "take 4 bytes, 8 follow"]),
        (of("F32", "[2]", "[4,12]"), &[whole, "lies at 4 to 12, expected 0"]),
        (of("F32", "[2]", "[8,0]"), &[whole, "lies at 8 to 0"]),
        (of("F32", "[2]", "[0,800]"), &[whole, "0 to 800", "at most 8"]),
        (of("F32", "[4611686018427387904, 4]", "[0,8]"), &["more bytes than a machine can hold"]),
        (of("F32", "[18446744073709551615]", "[0,8]"), &["a size of 18446744073709551615"]),
        (of("F32", "[-2]", "[0,8]"), &[whole, "its header"]),
        (of("F8_E4M3", "[8]", "[0,8]"), &["tensor \"a\"", "dtype \"F8_E4M3\""]),
        (of("U64", "[1]", "[0,8]"), &["dtype \"U64\""]),
        (file("{\"a\":1}", &[]), &[whole, "its header"]),
        (file("[1]", &[]), &[whole, "an object of tensors"]),
        (file("{", &[]), &[whole, "EOF"]),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}".to_vec(), &[whole, "claims 18446744073709551615 bytes"]),
        (b"\x01\x00".to_vec(), &[whole, "8 bytes of header length"]),
        (
            file(
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                &[0; 2],
            ),
            &[whole, "two tensors named \"a\""],
        ),
    ];
    for (bytes, parts) in cases {
        says(bytes::safetensors(&bytes), parts);
        says(bytes::weights(&bytes), parts);
    }
    // A bool that is neither 0 nor 1 counts as true.
    let bools = bytes::safetensors(&file("{\"a\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,2]}}", &[0, 77])).unwrap();
    assert_eq!(crate::read::numbers(&bools[0].1), [0.0, 1.0]);
    // Depth that would end the stack.
    says(bytes::safetensors(&file(&"[".repeat(100_000), &[])), &[whole]);
}

#[test]
fn an_index_names_files_beside_it_and_nothing_else() {
    let folder = Folder::new("index");
    let (index, part) = (folder.0.join("model.safetensors.index.json"), "model-00001-of-00002.safetensors");
    let write = |map: &str| std::fs::write(&index, format!("{{\"weight_map\":{{{map}}}}}")).unwrap();
    std::fs::copy(golden("sharded").join(part), folder.0.join(part)).unwrap();
    write(&format!("\"layers.0.bias\":\"{part}\",\"layers.0.weight\":\"{part}\""));
    assert_eq!(Checkpoint::load(&folder.0).unwrap().tensors().len(), 2);
    write(&format!("\"layers.0.bias\":\"{part}\",\"layers.0.weight\":\"{part}\",\"layers.2.bias\":\"{part}\""));
    says(Checkpoint::load(&index), &["index.json", part, "lacks \"layers.2.bias\""]);
    write(&format!("\"layers.0.bias\":\"{part}\""));
    says(Checkpoint::load(&index), &[part, "holds \"layers.0.weight\"", "does not place there"]);
    write("\"a\":\"absent.safetensors\"");
    says(Checkpoint::load(&index), &["absent.safetensors", "No such file"]);
    for outside in ["../secret", "/etc/passwd", "..", "", "a/b"] {
        write(&format!("\"a\":\"{outside}\""));
        says(Checkpoint::load(&index), &["names of files beside it", outside]);
    }
    write("\"a\":\"model.safetensors.index.json\"");
    says(Checkpoint::load(&index), &["index.json", "not a whole and valid"]);
    write("");
    says(Checkpoint::load(&index), &["weight_map", "an empty one"]);
    std::fs::write(&index, "{").unwrap();
    says(Checkpoint::load(&index), &["index.json", "not the expected JSON"]);
    std::fs::remove_file(&index).unwrap();
    says(Checkpoint::load(&folder.0), &["a folder without model.safetensors.index.json, model.safetensors"]);
}

#[test]
fn names_are_turned_by_a_table() {
    let checkpoint =
        |names: &[&str]| Checkpoint::new(0, 0, 0.0, names.iter().map(|name| (name.to_string(), zeros(&[1]))).collect());
    let renamed = |names: &[&str], rules: &[(&str, &str)]| {
        let turned = checkpoint(names).rename(rules).unwrap();
        turned.tensors().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(renamed(&["module.layers.0.weight", "module.layers.10.weight"], &RULES), ["fc1.weight", "layers.10.weight"]);
    assert_eq!(renamed(&["fc1.weight", "fc10.weight"], &[("fc1", "first")]), ["fc10.weight", "first.weight"]);
    assert_eq!(renamed(&["a.b", "c"], &[("", "net.")]), ["net.a.b", "net.c"]);
    let blocks = ["h.0.attn.c_attn.weight", "h.11.attn.c_attn.bias", "h.0.ln_1.weight"];
    let turned = renamed(&blocks, &[("h.*.attn.c_attn", "block*.attention.qkv"), ("h.*.ln_*", "block*.norm*")]);
    assert_eq!(turned, ["block0.attention.qkv.weight", "block0.norm1.weight", "block11.attention.qkv.bias"]);
    // Weights stay with their names.
    let two = Checkpoint::new(3, 4, 0.5, vec![("a".into(), zeros(&[1])), ("b".into(), zeros(&[1]) + 1.0)]);
    let swapped = two.rename(&[("a", "c"), ("b", "a"), ("c", "b")]).unwrap();
    assert_eq!(swapped.tensor("a").unwrap().double_value(&[0]), 1.0);
    assert_eq!((swapped.run, swapped.step, swapped.learning_rate), (3, 4, 0.5));
    assert_eq!(two.tensor("a").unwrap().double_value(&[0]), 0.0, "the original is untouched");
    says(two.rename(&[("a", "b")]), &["a and b would both be named b"]);
    says(two.rename(&[("a", "x*")]), &["rename", "at most 0 stars", "x*"]);
    assert_eq!(checkpoint(&blocks).without(&["h.*.attn"]).unwrap().tensors().len(), 1);
    says(checkpoint(&blocks).without(&["h.*.atn"]), &["no weight is named h.*.atn", "nearest"]);
}

#[test]
fn all_that_does_not_fit_is_said_at_once() {
    let task = tasks::mlp(); // fc1 [6, 4], fc2 [3, 6]
    let nan = zeros(&[3]) * f64::NAN;
    let python = Checkpoint::new(
        0,
        0,
        0.0,
        vec![
            ("fc1.weight".into(), zeros(&[4, 6])),
            ("layers.0.bias".into(), zeros(&[6])),
            ("fc2.bias".into(), nan),
            ("head.weight".into(), zeros(&[3, 6])),
            ("bn.num_batches_tracked".into(), Tensor::from(3i64)),
        ],
    );
    says(
        task.clone().with_checkpoints(vec![python.clone()]),
        &[
            "fc1.bias is missing (nearest: layers.0.bias)",
            "fc2.weight is missing (nearest: head.weight)",
            "fc1.weight expected [6, 4], got [4, 6], the transpose",
            "fc2.bias holds NaN",
            "head.weight [3, 6] has no place in the network (nearest: fc2.weight)",
            "layers.0.bias [6] has no place",
        ],
    );
    let table = task.compare(&python).unwrap();
    let cell = |name: &str, row: usize| table.column(name).unwrap().str().unwrap().get(row).map(str::to_string);
    let row = |parameter: &str| (0..table.height()).find(|&row| cell("parameter", row).as_deref() == Some(parameter)).unwrap();
    let verdicts = [
        ("fc1.weight", "misshapen"),
        ("fc1.bias", "missing"),
        ("fc2.weight", "missing"),
        ("fc2.bias", "not finite"),
        ("head.weight", "extra"),
        ("layers.0.bias", "extra"),
        ("bn.num_batches_tracked", "not used"),
    ];
    assert_eq!((table.height(), row("bn.num_batches_tracked")), (7, 6), "what does not fit comes first");
    for (parameter, verdict) in verdicts {
        assert_eq!(cell("verdict", row(parameter)).as_deref(), Some(verdict), "{parameter}");
    }
    assert_eq!(cell("nearest", row("head.weight")).as_deref(), Some("fc2.weight"));
    let (expected, found) = (cell("expected", row("fc1.weight")), cell("found", row("fc1.weight")));
    assert_eq!((expected.as_deref(), found.as_deref()), (Some("[6, 4]"), Some("[4, 6]")));

    // Torch's counter alone is no trouble; anything else that the network would not use is.
    let whole = |extra: &str, size: &[i64]| {
        let network = [
            ("fc1.weight", vec![6, 4]),
            ("fc1.bias", vec![6]),
            ("fc2.weight", vec![3, 6]),
            ("fc2.bias", vec![3]),
            (extra, size.to_vec()),
        ];
        Checkpoint::new(0, 0, 0.0, network.map(|(name, size)| (name.to_string(), zeros(&size))).into())
    };
    assert!(task.clone().with_checkpoints(vec![whole("bn.num_batches_tracked", &[])]).is_ok());
    says(task.clone().with_checkpoints(vec![whole("fc3.weight", &[3, 3])]), &["fc3.weight [3, 3] has no place in the network"]);
    assert!(task.clone().with_checkpoints(vec![whole("fc3.weight", &[3, 3]).without(&["fc3"]).unwrap()]).is_ok());
    // Hundreds of wrong names give a line, not pages.
    let many = Checkpoint::new(0, 0, 0.0, (0..500).map(|i| (format!("x{i}"), zeros(&[1]))).collect());
    let line = format!("{:?}", task.with_checkpoints(vec![many]).err().unwrap());
    assert!(line.contains("and 488 more (Task::compare lists them)") && line.len() < 2_000, "{line}");
}
