//! The publisher's layout, with records made here.

use std::path::PathBuf;

use super::*;

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ascribe-cifar-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Image i of class i modulo `classes`, all its bytes i modulo 251.
    fn write(&self, file: &str, n: usize, classes: usize) {
        let record = |i: usize| std::iter::once((i % classes) as u8).chain(std::iter::repeat_n((i % 251) as u8, PIXELS));
        std::fs::write(self.0.join(file), (0..n).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_publishers_files_are_read_in_their_order() {
    let folder = Scratch::new("whole");
    folder.write("test_batch.bin", BATCH, 10);
    let records = published(&folder.0, "test").unwrap();
    let data = records.dataset(&CLASSES).unwrap();
    assert_eq!((data.inputs().size(), data.classes()), (vec![10_000, 3, 32, 32], Some(10)));
    assert_eq!(data.labels().unwrap()[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    assert!((data.inputs().double_value(&[300, 2, 31, 31]) - (49.0 / 255.0 - 0.5) / 0.5).abs() < 1e-6);
    let pair = records.of_classes(Cifar2::CatDog.classes()).dataset(&["cat", "dog"]).unwrap();
    assert_eq!((pair.len(), pair.labels().unwrap()[..3].to_vec()), (2_000, vec![0, 1, 0]));
    let positions = pair.frame().column("position").unwrap().u32().unwrap();
    assert_eq!((positions.get(0), positions.get(3)), (Some(3), Some(15)));
    assert!((pair.inputs().double_value(&[3, 0, 0, 0]) - (15.0 / 255.0 - 0.5) / 0.5).abs() < 1e-6);
}

#[test]
fn what_is_not_the_publishers_is_told() {
    let folder = Scratch::new("bad");
    let said = |part: &str| published(&folder.0, part).err().unwrap().to_string();
    assert!(
        said("train").contains("data_batch_1.bin is not there: unpack the publisher's cifar-10-binary.tar.gz"),
        "{}",
        said("train")
    );
    folder.write("test_batch.bin", 3, 10);
    assert!(said("test").contains("test_batch.bin: expected 10000 images, got 3"), "{}", said("test"));
    folder.write("test_batch.bin", 12, 11);
    assert!(said("test").contains("expected labels 0 to 9, image 10 has 10"), "{}", said("test"));
    for bytes in [vec![], vec![0; 3000], vec![0; 3074]] {
        std::fs::write(folder.0.join("test_batch.bin"), &bytes).unwrap();
        let expected = format!("expected records of 3073 bytes, got {} bytes in all", bytes.len());
        assert!(said("test").contains(&expected), "{}", said("test"));
    }
    folder.write("cat-dog-train.bin", 4, 4);
    let file = folder.0.join("cat-dog-train.bin");
    let error = Records::of_pair(&file, Cifar2::CatDog).err().unwrap().to_string();
    assert!(error.contains("expected labels [3, 5] of cat-dog, image 0 has 0"), "{error}");
    std::fs::write(&file, [vec![5; 1 + PIXELS], vec![3; 1 + PIXELS]].concat()).unwrap();
    assert_eq!(Records::of_pair(&file, Cifar2::CatDog).unwrap().labels, [1, 0]);
    std::fs::write(file.with_extension("idx-u16le"), [1, 0, 2]).unwrap();
    let error = Records::of_pair(&file, Cifar2::CatDog).err().unwrap().to_string();
    assert!(error.contains("expected 2 positions of two bytes, got 3 bytes"), "{error}");
}
