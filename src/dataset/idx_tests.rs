//! The parser on good and damaged data, and datasets from files made here.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::*;

/// An idx file of unsigned bytes, not packed.
fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn shape_and_values_come_back() {
    let values: Vec<u8> = (0..24).collect();
    let got = parse("x", GzDecoder::new(pack(&idx(&[2, 3, 4], &values)).as_slice())).unwrap();
    assert_eq!((got.shape, got.values), (vec![2, 3, 4], values));
    assert_eq!(parse("x", idx(&[0], &[]).as_slice()).unwrap().shape, [0]);
}

#[test]
fn each_kind_of_damage_is_told() {
    let good = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let mut floats = good.clone();
    floats[2] = 0x0d;
    let cases: [(&[u8], &str); 10] = [
        (b"", "not an idx file, or cut off: cannot read its first four bytes"),
        (b"\0\0", "cannot read its first four bytes"),
        (b"<html>not found</html>", "expected an idx file of unsigned bytes (it begins 0 0 8), got 60 104 116"),
        (&floats, "(it begins 0 0 8), got 0 0 13"),
        (&good[..10], "cut off: cannot read its dimensions"),
        (&good[..15], "cut off: expected 6 values of shape [2, 3], got 3"),
        (&[good.as_slice(), b"!"].concat(), "expected 6 values of shape [2, 3], and more follow"),
        (&idx(&[], &[]), "expected between 1 dimension and"),
        (&idx(&[u32::MAX, 2], &[]), "got the shape [4294967295, 2]"),
        (&idx(&[u32::MAX; 3], &[]), "got the shape [4294967295, 4294967295, 4294967295]"),
    ];
    for (bytes, expected) in cases {
        let error = parse("some file", bytes).unwrap_err().to_string();
        assert!(error.starts_with("data some file: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_damaged_gzip_is_told() {
    let values: Vec<u8> = (0..4000u32).map(|i| ((i * i) >> 4) as u8).collect();
    let packed = pack(&idx(&[4000], &values));
    let mut checksum = packed.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    for (bytes, expected) in [
        (&packed[..packed.len() / 2], "expected 4000 values"),
        (&checksum, "reading broke off after 4000: corrupt gzip stream does not have a matching checksum"),
        (b"plainly not packed at all", "cannot read its first four bytes"),
    ] {
        let error = parse("some file", GzDecoder::new(bytes)).unwrap_err().to_string();
        assert!(error.starts_with("data some file: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_missing_file_is_an_io_error_with_its_path() {
    let path = std::env::temp_dir().join("ascribe-no-such-file.gz");
    assert!(matches!(read(&path), Err(Error::Io { path, .. }) if path.contains("no-such-file")));
}

/// Loads a dataset of four files made here, from a folder of their own.
fn load(test: &str, files: [Vec<u8>; 4]) -> Result<(Dataset, Dataset)> {
    let path = std::env::temp_dir().join(format!("ascribe-idx-{}-{test}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    let sha256 = std::array::from_fn(|at| {
        let packed = pack(&files[at]);
        fs::write(path.join(FILES[at]), &packed).unwrap();
        &*download::hexadecimal(Sha256::new_with_prefix(packed)).leak()
    });
    let classes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let source = Source { name: "made", mirrors: &[], sha256, mean: 0.5, deviation: 0.25, classes };
    let result = source.load_from(&Folder { path: path.clone(), ours: false });
    fs::remove_dir_all(&path).unwrap();
    result
}

#[test]
fn images_are_normalised_and_keep_their_order() {
    let mut images = vec![0u8; 2 * 784];
    (images[1], images[784]) = (255, 51);
    let (train, test) =
        load("good", [idx(&[2, 28, 28], &images), idx(&[2], &[9, 0]), idx(&[1, 28, 28], &images[..784]), idx(&[1], &[3])])
            .unwrap();
    assert_eq!((train.name(), test.name()), ("made-train", "made-test"));
    assert_eq!((train.inputs().size(), test.inputs().size()), (vec![2, 1, 28, 28], vec![1, 1, 28, 28]));
    assert_eq!((train.labels(), test.labels()), (Some(vec![9, 0]), Some(vec![3])));
    assert_eq!((train.classes(), test.class_name(3).as_str()), (Some(10), "d"));
    assert_eq!(train.inputs().kind(), Kind::Float);
    let pixel = |image, column| train.inputs().double_value(&[image, 0, 0, column]);
    assert_eq!((pixel(0, 0), pixel(0, 1)), (-2.0, 2.0)); // (0 - 0.5) / 0.25 and (1 - 0.5) / 0.25
    assert!((pixel(1, 0) + 1.2).abs() < 1e-6); // (0.2 - 0.5) / 0.25
}

#[test]
fn files_that_do_not_fit_together_are_told() {
    let (images, labels) = (idx(&[1, 28, 28], &[0; 784]), idx(&[1], &[3]));
    let cases = [
        ("shape", idx(&[1, 784], &[0; 784]), labels.clone(), "shape of made images: expected [n, 28, 28], got [1, 784]"),
        ("count", images.clone(), idx(&[2], &[3, 4]), "shape of made labels: expected [1], got [2]"),
        ("class", images.clone(), idx(&[1], &[10]), "data made: expected labels 0 to 9, got a larger one"),
        ("empty", idx(&[0, 28, 28], &[]), idx(&[0], &[]), "data dataset: expected at least one example, got none"),
    ];
    for (name, bad_images, bad_labels, expected) in cases {
        let error = load(name, [images.clone(), labels.clone(), bad_images, bad_labels]).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
