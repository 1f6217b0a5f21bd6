//! Files that lie, ask for code, or are cut off: one line that says so.

use ascribe::prelude::*;
use ascribe::read::bytes;
use ascribe::tch::Kind;

use super::{bytes_of, golden};
use crate::tasks::{Folder, says};

#[test]
fn nothing_is_executed() {
    says(read::pickle(golden("system.pkl")), &["system.pkl", "posix.system"]);
    says(read::pickle(golden("system-4.pkl")), &["posix.system"]);
    says(bytes::pickle(b"cos\nsystem\n(S'true'\ntR."), &["os.system"]);
    says(bytes::pickle(b"(S'true'\nios\nsystem\n."), &["os.system"]);
    says(bytes::pickle(b"cbuiltins\neval\n(S'1'\ntR."), &["builtins.eval"]);
    says(bytes::pickle(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93."), &["builtins.exec"]);
    says(bytes::pickle(b"cnumpy.core.multiarray\nfromstring\n."), &["numpy.core.multiarray.fromstring"]);
    says(bytes::pickle(b"ctorch._utils\n_rebuild_tensor_v2\n."), &["torch._utils._rebuild_tensor_v2"]);
    says(bytes::pickle(b"cnumpy\nndarray\n."), &["plain data", "class or function"]);
    says(bytes::pickle(b"\x80\x02cnumpy\nndarray\n)\x81."), &["objects of a class"]);
    says(bytes::pickle(b"cos\nsys\x1b[31m\ntem\n."), &["os.sys\\u{1b}"]);
    says(read::pickle(golden("namespace.pkl")), &["argparse.Namespace"]);
    says(read::torch(golden("module.pt")), &["module.pt", "torch.nn.modules.linear.Linear"]);
    says(read::torch(golden("script.pt")), &["TorchScript", "code"]);
    says(read::pickle(golden("object.pkl")), &["object.pkl", "Python objects"]);
}

#[test]
fn one_format_is_not_taken_for_another() {
    says(read::npy(golden("plain-4.pkl")), &["plain-4.pkl", "expected an NPY file"]);
    says(read::npy(golden("stored.npz")), &["zip archive", "read::npz"]);
    says(read::pickle(golden("state.pt")), &["zip archive", "read::torch"]);
    says(read::pickle(golden("int64.npy")), &["NPY", "read::npy"]);
    says(read::torch(golden("plain-2.pkl")), &["read::pickle"]);
    for legacy in [read::torch(golden("legacy.pt")), read::pickle(golden("legacy.pt"))] {
        says(legacy, &["legacy.pt", "old torch format", "save it again"]);
    }
    says(read::npz(golden("state.pt")), &["only .npy entries", "data.pkl"]);
    says(read::raw(golden("int64.npy"), &[22], Kind::Int64), &["NPY header", "read::npy"]);
    says(read::npy(golden("")), &["file", "folder"]);
    says(read::npy(golden("absent.npy")), &["absent.npy", "No such file"]);
}

/// An NPY file of version 1 with this dictionary and data.
fn npy(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(dictionary.len()).unwrap().to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, dictionary.as_bytes(), data].concat()
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
}

#[test]
fn npy_headers_that_lie() {
    let cases: [(&str, &str, &[&str]); 15] = [
        ("'<f4'", "(3,)", &["[3]", "12 bytes", "8"]),
        ("'<f4'", "(1,)", &["[1]", "4 bytes", "8"]),
        ("'<f4'", "(-2,)", &["negative", "-2"]),
        ("'<f4'", "(4294967296, 4294967296)", &["more bytes than a machine can hold"]),
        ("'<f4'", "(9223372036854775807, 2, 0)", &["more bytes than a machine can hold"]),
        ("'<f4'", "(99999999999999999999,)", &["a size in the shape"]),
        ("'<f4'", "(1000000000000,)", &["4000000000000 bytes", "8"]),
        ("'<f4'", "(2", &["a size in the shape"]),
        ("'<f4'", "(2 2)", &["')'"]),
        ("'|O'", "(1,)", &["Python objects"]),
        ("'<c8'", "(1,)", &["dtype", "<c8"]),
        ("'<U2'", "(1,)", &["dtype", "<U2"]),
        ("'<f16'", "(1,)", &["dtype", "<f16"]),
        ("[('a', '<f4')]", "(2,)", &["records"]),
        ("'<f4", "(2,)", &["NPY header"]),
    ];
    for (descr, shape, parts) in cases {
        says(bytes::npy(&npy(&header(descr, shape), &[0; 8])), parts);
    }
    let many = format!("({})", "1, ".repeat(33));
    says(bytes::npy(&npy(&header("'<f4'", &many), &[0; 4])), &["32 dimensions", "33"]);
    says(bytes::npy(&npy("{'descr': '<f4', 'shape': (2,), }", &[0; 8])), &["fortran_order"]);
    says(bytes::npy(&npy("{'descr': '<f4', 'descr': '<f4'}", &[0; 8])), &["repeated key", "descr"]);
    says(bytes::npy(&npy(&header("'<u8'", "(1,)"), &[255; 8])), &["largest int64"]);
    says(bytes::npy(b"\x93NUMPY\x09\x00\x00\x00"), &["version 1, 2 or 3", "9"]);
    says(bytes::npy(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), &["at most 65536", "4294967295"]);
    for name in ["object", "record", "complex"] {
        says(read::npy(golden(&format!("{name}.npy"))), &[name, "numbers"]);
    }
    // A bool that is neither 0 nor 1 counts as true, and is not handed to libtorch as it is.
    assert_eq!(super::numbers(&bytes::npy(&npy(&header("'|b1'", "(3,)"), &[0, 1, 77])).unwrap()), [0.0, 1.0, 1.0]);
    let folder = Folder::new("lies");
    let path = folder.0.join("long.npy");
    std::fs::write(&path, npy(&header("'<f4'", "(2,)"), &[0; 12])).unwrap();
    says(read::npy(&path), &["long.npy", "8 bytes of data", "12 follow"]);
}

#[test]
fn pickles_that_lie() {
    says(bytes::pickle(b""), &["cut off"]);
    says(bytes::pickle(b"hello"), &["never stored"]);
    says(bytes::pickle(b"\xff"), &["unknown opcode 0xff"]);
    says(bytes::pickle(b"\x80\x09N."), &["protocol 0 to 5", "9"]);
    says(bytes::pickle(b"."), &["missing on its stack"]);
    says(bytes::pickle(b"(K\x01("), &["cut off"]);
    says(bytes::pickle(b"N(0."), &["missing on its stack"]);
    says(bytes::pickle(b"NN."), &["left on its stack"]);
    says(bytes::pickle(b"N.N"), &["1 bytes follow"]);
    says(bytes::pickle(b"B\xff\xff\xff\xff."), &["4294967295 bytes"]);
    says(bytes::pickle(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), &["18446744073709551615 bytes"]);
    says(bytes::pickle(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."), &["integer of 9 bytes"]);
    says(bytes::pickle(b"}(K\x01u."), &["key without a value"]);
    says(bytes::pickle(b"]]K\x01\x86R."), &["calls a list"]);
    says(bytes::pickle(b"K\x01]a."), &["appends to an int"]);
    // Deep, cyclic, and small but huge once written out.
    let deep = [vec![b']'; 5000], vec![b'a'; 4999], b".".to_vec()].concat();
    says(bytes::pickle(&deep), &["nested deeper than 100"]);
    says(bytes::pickle(b"]q\x00h\x00a."), &["containing themselves"]);
    let mut laughs = b"]q\x000".to_vec();
    for level in 1..60u8 {
        laughs.extend(b"(");
        laughs.extend([b'h', level - 1].repeat(10));
        laughs.extend([b't', b'q', level, b'0']);
    }
    laughs.extend([b'h', 59, b'.']);
    says(bytes::pickle(&laughs), &["far more memory than the file"]);
    // One stored text, encoded again and again.
    let mut again = b"c_codecs\nencode\nq\x000X\x00\x00\x02\x00".to_vec();
    again.extend([b'x'; 1 << 17]);
    again.extend(b"q\x010X\x06\x00\x00\x00latin1q\x02");
    again.extend(b"h\x00h\x01h\x02\x86R0".repeat(1 << 10));
    again.push(b'.');
    says(bytes::pickle(&again), &["far more memory than the file"]);
}

/// The bytes with the only occurrence of `from` replaced.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "{:?} stands at {places:?}", String::from_utf8_lossy(from));
    let mut patched = bytes.to_vec();
    patched[places[0]..places[0] + to.len()].copy_from_slice(to);
    patched
}

/// A zip archive of stored entries: name, content, claimed size.
fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content, claimed) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut fixed = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes()].concat();
        fixed.extend([claimed.to_le_bytes(), claimed.to_le_bytes()].concat());
        fixed.extend([(name.len() as u16).to_le_bytes(), [0, 0]].concat());
        directory.extend([b"PK\x01\x02\x14\x00", fixed.as_slice(), &[0; 10], &(file.len() as u32).to_le_bytes()].concat());
        directory.extend(name.as_bytes());
        file.extend([b"PK\x03\x04", fixed.as_slice(), name.as_bytes(), content].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (size, offset) = ((directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &offset, &[0, 0]].concat();
    [file, directory, end].concat()
}

#[test]
fn zip_archives_that_lie() {
    let array = bytes_of("int64.npy");
    let size = array.len() as u32;
    assert_eq!(bytes::npz(&zip(&[("a.npy", &array, size)])).unwrap()[0].0, "a");
    says(bytes::npz(&zip(&[("a.npy", &array, size + 9)])), &["a.npy", "larger than its place"]);
    says(bytes::npz(&zip(&[("a.npy", &array, u32::MAX - 1)])), &["a.npy", "larger than its place"]);
    says(bytes::npz(&zip(&[("a.npy", &array, size), ("a.npy", &array, size)])), &["two entries named", "a.npy"]);
    says(bytes::npz(&zip(&[("a.npy", &array, size - 1)])), &["a.npy", "checksum"]);
    let deflated = bytes_of("deflated.npz");
    let place = deflated.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let mut encrypted = deflated.clone();
    encrypted[place + 8] |= 1;
    says(bytes::npz(&encrypted), &["zeros.npy", "encrypted"]);
    let mut bomb = deflated.clone();
    bomb[place + 24..place + 28].copy_from_slice(&0x7fff_0000u32.to_le_bytes());
    says(bytes::npz(&bomb), &["zeros.npy", "claims 2147418112 bytes"]);
    let mut method = deflated.clone();
    method[place + 10] = 14;
    says(bytes::npz(&method), &["zeros.npy", "method 14"]);
    let mut longer = deflated.clone();
    longer[place + 24] += 1;
    says(bytes::npz(&longer), &["zeros.npy", "does not unpack"]);
    assert!(bytes::npz(&zip(&[])).unwrap().is_empty());
}

#[test]
fn tensors_outside_their_storage() {
    // The pickle inside, patched in place: its checksum must be made right again, so the archive is built anew.
    let parts = |pickle: &[u8], storage: &[u8]| {
        zip(&[("x/data.pkl", pickle, pickle.len() as u32), ("x/data/0", storage, storage.len() as u32)])
    };
    let pickle = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x01(K\x03t(K\x01t\x89NtR.";
    let storage: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let whole = bytes::torch(&parts(pickle, &storage)).unwrap().tensor().unwrap();
    assert_eq!(super::numbers(&whole), [2.0, 3.0, 4.0]);
    let lies: [(&[u8], &[u8], &str); 7] = [
        (b"QK\x01(K\x03t", b"QK\x02(K\x03t", "offset 2 over a storage of 4"),
        (b"K\x03t(K\x01t", b"K\x03t(K\x02t", "stride [2]"),
        (b"K\x03t(", b"K\x05t(", "size [5]"),
        (b"cpuK\x04tQ", b"cpuK\x05tQ", "storage \"0\" has 4 elements, the pickle says 5"),
        (b"FloatStorage", b"ShortStorage", "has 8 elements"),
        (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007", "no entry \"x/data/7\""),
        (b"FloatStorage", b"EvilsStorage", "torch.EvilsStorage"),
    ];
    for (from, to, reason) in lies {
        says(bytes::torch(&parts(&patched(pickle, from, to), &storage)), &[reason]);
    }
    // Strides of nothing would make a tensor of any size out of one element.
    let endless = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00(J\x00\x00\x00\x40t(K\x00t\x89NtR.";
    says(bytes::torch(&parts(endless, &storage)), &["far more memory than the file"]);
    says(bytes::torch(&parts(pickle, &storage[..15])), &["does not take 15 bytes"]);
    let deflated = bytes_of("deflated.npz");
    says(bytes::torch(&deflated), &["compressed"]);
}
