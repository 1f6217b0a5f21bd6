//! Data from disk: tables, arrays, pictures, text and music, against what Python makes of the same files.

use std::path::{Path, PathBuf};

use ascribe::dataset::{self, Blocks, Categories, Cifar2, Columns, Encoding, Events, Images, Resize, Vocabulary};
use ascribe::polars::df;
use ascribe::polars::prelude::DataFrame;
use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::read::numbers;
use crate::tasks::{Folder, assert_close, says};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    numbers(tensor)
}

fn table() -> DataFrame {
    df!(
        "height" => [1.5, 2.0, 1.0, 2.5],
        "city" => ["Rome", "Oslo", "Rome", "Bern"],
        "member" => [true, false, true, true],
        "visits" => [3, 1, 4, 1],
        "name" => ["Ada", "Bo", "Cy", "Di"],
        "kind" => ["b", "a", "b", "c"],
    )
    .unwrap()
}

#[test]
fn columns_become_inputs_targets_and_metadata() {
    let columns = Columns { metadata: vec!["name".into()], ..Columns::class("kind") };
    let encoding = Encoding::of(&table(), &columns).unwrap();
    assert_eq!(encoding.inputs(), ["height", "city=Bern", "city=Oslo", "city=Rome", "member", "visits"]);
    let data = encoding.dataset(&table()).unwrap();
    let rows = [
        [1.5, 0.0, 0.0, 1.0, 1.0, 3.0],
        [2.0, 0.0, 1.0, 0.0, 0.0, 1.0],
        [1.0, 0.0, 0.0, 1.0, 1.0, 4.0],
        [2.5, 1.0, 0.0, 0.0, 1.0, 1.0],
    ];
    assert_eq!((data.inputs().size(), flat(data.inputs())), (vec![4, 6], rows.concat()));
    assert_eq!((data.labels(), data.classes(), data.class_name(2)), (Some(vec![1, 0, 1, 2]), Some(3), "c".into()));
    let index = Columns { categories: Categories::Index, inputs: vec!["visits".into(), "city".into()], ..columns.clone() };
    assert_eq!(flat(Dataset::from_frame(&table(), &index).unwrap().inputs()), [3.0, 2.0, 1.0, 1.0, 4.0, 2.0, 1.0, 0.0]);
    let number = Columns { inputs: vec!["visits".into()], ..Columns::number("height") };
    let data = Dataset::from_frame(&table(), &number).unwrap();
    assert_eq!((data.labels(), flat(data.targets())), (None, vec![1.5, 2.0, 1.0, 2.5]));
    // Whole numbers are classes in their order, not by their digits.
    let ages = df!("x" => [0.0, 1.0, 2.0], "age" => [10, 9, 100]).unwrap();
    let data = Dataset::from_frame(&ages, &Columns::class("age")).unwrap();
    assert_eq!((data.labels(), data.class_name(0), data.class_name(2)), (Some(vec![1, 0, 2]), "9".into(), "100".into()));
}

/// A test table has the numbers of its train table, not of its own.
#[test]
fn a_second_table_is_read_like_the_first() {
    let columns = Columns { standardise: true, inputs: vec!["height".into(), "city".into()], ..Columns::class("kind") };
    let encoding = Encoding::of(&table(), &columns).unwrap();
    let own = encoding.dataset(&table()).unwrap();
    let height = own.inputs().select(1, 0);
    assert!(height.mean(Kind::Double).double_value(&[]).abs() < 1e-6);
    assert!((height.std(false).double_value(&[]) - 1.0).abs() < 1e-6);
    let other = df!("height" => [1.75, 5.0], "city" => ["Bern", "Bern"], "kind" => ["c", "c"]).unwrap();
    let data = encoding.dataset(&other).unwrap();
    let deviation = (5.0f64 / 16.0).sqrt();
    assert_close(&data.inputs().select(1, 0), &Tensor::from_slice(&[0.0, 3.25 / deviation]), 1e-6, "height");
    assert_eq!((data.labels(), data.classes(), data.inputs().size()), (Some(vec![2, 2]), Some(3), vec![2, 4]));
    let cow = df!("height" => [1.0], "city" => ["Berm"], "kind" => ["c"]).unwrap();
    says(encoding.dataset(&cow), &["column city", "row 0", "\"Berm\" is none of the 3 values", "nearest: Bern"]);
    let dog = df!("height" => [1.0], "city" => ["Bern"], "kind" => ["d"]).unwrap();
    says(encoding.dataset(&dog), &["column kind", "\"d\" is none of the 3"]);
    let constant = df!("x" => [2.0, 2.0], "label" => [0, 1]).unwrap();
    let same = Dataset::from_frame(&constant, &Columns { standardise: true, ..default() }).unwrap();
    assert_eq!(flat(same.inputs()), [0.0, 0.0]);
}

#[test]
fn metadata_travels_into_every_table() {
    let folder = Folder::new("csv");
    let path = folder.0.join("people.csv");
    let rows: Vec<String> = (0..30).map(|i| format!("p{i},{},{}.5,\"a, {}\"\n", ["x", "y"][i % 2], i % 7, i % 3)).collect();
    std::fs::write(&path, format!("name,kind,size,group\n{}", rows.concat())).unwrap();
    let columns = Columns { metadata: vec!["name".into(), "group".into()], ..Columns::class("kind") };
    let data = Dataset::from_csv(&path, &columns).unwrap();
    assert_eq!((data.name(), data.len(), data.inputs().size()), ("people", 30, vec![30, 1]));
    let (train, test) = data.split(20, 10, 0).unwrap();
    let task = Task::new(|p: &nn::Path| Logistic::new(p, 1, 2)).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let fitted = GradDot::default().fit(&task, &train).unwrap();
    let scores = fitted.score(&test).unwrap();
    let found = scores.proponents(0, 3).unwrap();
    let best = found.column("train").unwrap().u32().unwrap().get(0).unwrap();
    assert_eq!(found.column("name").unwrap().str().unwrap().get(0), Some(format!("p{best}").as_str()));
    for (table, column) in [
        (scores.frame().unwrap(), "test_group"),
        (scores.frame().unwrap(), "train_name"),
        (fitted.self_influence().unwrap(), "name"),
        (fitted.suspects(2).unwrap(), "group"),
        (scores.opponents(0, 1).unwrap(), "name"),
    ] {
        assert!(table.column(column).unwrap().str().unwrap().get(0).is_some(), "{column}");
    }
}

#[test]
fn tables_that_cannot_be_read() {
    let of = |frame: DataFrame, columns: &Columns| Dataset::from_frame(&frame, columns);
    let whole = table();
    says(of(whole.clone(), &Columns::class("kinds")), &["column kinds", "none of the 6 columns (nearest: kind)"]);
    says(
        of(whole.clone(), &Columns { inputs: vec!["heigth".into()], ..Columns::class("kind") }),
        &["column heigth", "nearest: height"],
    );
    says(
        of(whole.clone(), &Columns { metadata: vec!["nam".into()], ..Columns::class("kind") }),
        &["column nam", "nearest: name"],
    );
    says(
        of(whole.clone(), &Columns { inputs: vec!["kind".into()], ..Columns::class("kind") }),
        &["column kind", "is the target"],
    );
    says(of(whole.clone(), &Columns::class("height")), &["column height", "expected classes", "f64"]);
    says(of(whole.clone(), &Columns::number("kind")), &["column kind", "expected numbers, got text"]);
    says(of(df!("label" => [1, 2]).unwrap(), &default()), &["at least one column for the inputs"]);
    let holes = df!("x" => [Some(1.0), None], "label" => [0, 1]).unwrap();
    says(of(holes, &default()), &["column x", "row 1: expected a number, got nothing"]);
    let broken = df!("x" => [1.0, f64::NAN], "label" => [0, 1]).unwrap();
    says(of(broken, &default()), &["column x", "row 1: expected a finite number, got NaN"]);
    says(of(df!("x" => [1.0, 1e300], "label" => [0, 1]).unwrap(), &default()), &["column x", "row 1", "1e300"]);
    says(
        of(df!("x" => [1.0, 2.0], "label" => [Some("a"), None]).unwrap(), &default()),
        &["column label", "row 1", "got nothing"],
    );
    let many: Vec<String> = (0..1_001).map(|i| format!("n{i}")).collect();
    says(of(df!("x" => many, "label" => vec![0; 1_001]).unwrap(), &default()), &["column x", "1001 distinct texts", "metadata"]);
    let mixed = df!("x" => ["1", "2", "n/a", "4"], "label" => [0, 1, 0, 1]).unwrap();
    says(of(mixed, &default()), &["column x", "row 2: expected a number, as in most of its rows, got \"n/a\""]);
    let reserved = Columns { metadata: vec!["score".into()], ..default() };
    says(of(df!("x" => [1.0], "score" => [1.0], "label" => [0]).unwrap(), &reserved), &["score", "choose another"]);
    let none = df!("x" => Vec::<f64>::new(), "label" => Vec::<i64>::new()).unwrap();
    says(of(none, &default()), &["at least one row"]);
}

#[test]
fn csv_files_that_cannot_be_read() {
    let folder = Folder::new("csv-bad");
    let path = folder.0.join("bad.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Dataset::from_csv(&path, &default())
    };
    assert_eq!(read("x,label\n1,a\n2.5,b\n").unwrap().labels(), Some(vec![0, 1]));
    says(read("x,label\n1,a\n2,b,3\n"), &["bad.csv", "not a whole CSV table"]);
    says(read("x,label\n1,a\n2\n"), &["bad.csv", "column label", "row 1", "got nothing"]);
    says(read(""), &["bad.csv", "not a whole CSV table"]);
    says(read("x,label\n"), &["bad.csv"]);
    says(read("x,y\n1,2\n"), &["bad.csv, column label", "none of the 2 columns"]);
    // Found by fuzzing: a quoted name may have a line break.
    let error = read("\"a\n\u{7}label\",y\n1,2\n").unwrap_err().to_string();
    assert!(error.contains(r"nearest: a\n\u{7}label") && !error.contains(char::is_control), "{error}");
    says(read("x,label\nNaN,a\n"), &["bad.csv, column x", "row 0"]);
    says(Dataset::from_csv(folder.0.join("absent.csv"), &default()), &["absent.csv", "No such file"]);
    says(Dataset::from_csv(&folder.0, &default()), &["expected a file, got a folder"]);
}

#[test]
fn arrays_of_numpy() {
    let folder = Folder::new("arrays");
    let write = |name: &str, tensor: Tensor| {
        let path = folder.0.join(name);
        tensor.write_npy(&path).unwrap();
        path
    };
    let pixels = write("pixels.npy", Tensor::from_slice(&[0u8, 255, 7, 9]).view([2, 1, 2]));
    let words = write("words.npy", Tensor::from_slice(&[3i32, 4, 5, 6]).view([2, 2]));
    let (labels, values) = (write("y.npy", Tensor::from_slice(&[1i32, 0])), write("v.npy", Tensor::from_slice(&[0.5f64, 2.0])));
    let data = Dataset::from_npy(&pixels, &labels).unwrap();
    assert_eq!((data.name(), data.inputs().kind(), flat(data.inputs())), ("pixels", Kind::Float, vec![0.0, 255.0, 7.0, 9.0]));
    assert_eq!(data.labels(), Some(vec![1, 0]));
    let data = Dataset::from_npy(&words, &values).unwrap();
    assert_eq!((data.inputs().kind(), data.targets().kind(), data.labels()), (Kind::Int64, Kind::Float, None));
    says(Dataset::from_npy(&words, write("z.npy", Tensor::from_slice(&[1i64]))), &["targets", "2 rows", "1 rows"]);
    says(Dataset::from_npy(folder.0.join("none.npy"), &labels), &["none.npy", "No such file"]);
    std::fs::write(&pixels, b"hello").unwrap();
    says(Dataset::from_npy(&pixels, &labels), &["pixels.npy", "expected an NPY file"]);

    let data = Dataset::from_npz(golden("own/examples.npz"), "images", "label").unwrap();
    assert_eq!((data.name(), data.inputs().size(), data.labels()), ("examples", vec![3, 2, 2], Some(vec![2, 0, 1])));
    assert_eq!(data.frame().column("writer").unwrap().i64().unwrap().get(2), Some(12));
    assert_eq!(data.frame().column("weight").unwrap().f64().unwrap().get(0), Some(0.25));
    assert_eq!(data.frame().column("held_out").unwrap().bool().unwrap().get(1), Some(true));
    assert!(data.frame().column("mean").is_err(), "one number is none for each example");
    says(Dataset::from_npz(golden("own/examples.npz"), "image", "label"), &["examples.npz", "no array image (nearest: images)"]);
}

/// Lossless pictures are equal to Pillow's; lossy ones to what another decoder may differ by.
#[test]
fn pictures_are_those_that_pillow_reads() {
    let mut count = 0;
    for entry in std::fs::read_dir(golden("images")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(picture) = name.strip_suffix(".npy") else { continue };
        let (found, expected) = (read::image(golden("images").join(picture)).unwrap(), read::npy(&path).unwrap());
        assert_eq!((found.kind(), found.size()), (Kind::Uint8, expected.size()), "{picture}");
        let apart = (found.to_kind(Kind::Int) - expected.to_kind(Kind::Int)).abs().to_kind(Kind::Double);
        let (most, mean) = (apart.max().double_value(&[]), apart.mean(Kind::Double).double_value(&[]));
        let room = match picture {
            "420.jpg" | "422.jpg" => SUBSAMPLED,
            _ if picture.ends_with(".jpg") => LOSSY,
            _ => (0.0, 0.0),
        };
        assert!(most <= room.0 && mean <= room.1, "{picture}: at most {most}, on average {mean}");
        count += 1;
    }
    assert_eq!(count, 14);
}

/// Largest and mean difference of two JPEG decoders.
const LOSSY: (f64, f64) = (2.0, 0.05);
/// The same where each colour stands for two or four pixels.
const SUBSAMPLED: (f64, f64) = (3.0, 0.5);

#[test]
fn pictures_are_resized_and_cut_as_by_torchvision() {
    let expected = read::npz(golden("images/transformed.npz")).unwrap();
    let expected = |name: &str| expected.iter().find(|(stored, _)| stored == name).map(|(_, t)| t.shallow_clone()).unwrap();
    let folder = Folder::new("resize");
    let class = folder.0.join("only");
    std::fs::create_dir_all(&class).unwrap();
    let made = |picture: &str, images: Images| {
        std::fs::copy(golden("images").join(picture), class.join("picture.png")).unwrap();
        let data = dataset::folder(&folder.0, &images).unwrap();
        (data.inputs().get(0) * 255.0).round().permute([1, 2, 0]).to_kind(Kind::Uint8) // [h, w, c]
    };
    let resized = |resize| Images { resize, ..default() };
    let cases = [
        ("smaller", "rgb.png", resized(Resize::ShorterSide(9))),
        ("larger", "rgb.png", resized(Resize::ShorterSide(40))),
        ("same", "rgb.png", resized(Resize::ShorterSide(23))),
        ("one", "rgb.png", resized(Resize::ShorterSide(1))),
        ("squeezed", "rgb.png", resized(Resize::To([5, 60]))),
        ("stretched", "rgb.png", resized(Resize::To([61, 7]))),
        ("rows", "rgb.png", resized(Resize::To([11, 31]))),
        ("columns", "rgb.png", resized(Resize::To([23, 12]))),
        ("tall", "tall.png", resized(Resize::ShorterSide(12))),
        ("crop", "rgb.png", Images { crop: Some([10, 10]), ..default() }),
        ("odd", "rgb.png", Images { crop: Some([8, 7]), ..default() }),
        ("whole", "rgb.png", Images { crop: Some([23, 31]), ..default() }),
        ("l", "rgb.png", Images { grey: true, ..default() }),
    ];
    for (name, picture, images) in cases {
        let (found, expected) = (made(picture, images), expected(name));
        assert_eq!(found.size(), expected.size(), "{name}");
        assert!(found.equal(&expected), "{name}: equal to the byte");
    }
}

#[test]
fn a_folder_of_classes_is_torchvisions() {
    let expected = read::npz(golden("images/transformed.npz")).unwrap();
    let expected = |name: &str| expected.iter().find(|(stored, _)| stored == name).map(|(_, t)| t.shallow_clone()).unwrap();
    let images = Images {
        resize: Resize::ShorterSide(14),
        crop: Some([12, 12]),
        mean: vec![0.485, 0.456, 0.406],
        deviation: vec![0.229, 0.224, 0.225],
        ..default()
    };
    let data = dataset::folder(golden("images/classes"), &images).unwrap();
    assert_eq!((data.name(), data.labels(), data.class_name(1)), ("classes", Some(vec![0, 0, 0, 1, 1]), "dog".into()));
    let files: Vec<&str> = data.frame().column("file").unwrap().str().unwrap().iter().flatten().collect();
    assert_eq!(files, ["cat/a.jpg", "cat/b.png", "cat/deep/c.PNG", "dog/1.jpeg", "dog/2.png"]);
    let apart = |found: &Tensor, expected: &Tensor, row: i64| (found.get(row) - expected.get(row)).abs().max().double_value(&[]);
    let grey = Images { resize: Resize::To([6, 9]), grey: true, mean: vec![0.5], deviation: vec![0.25], ..default() };
    let grey = dataset::folder(golden("images/classes"), &grey).unwrap();
    for (name, found, step) in
        [("folder", data.inputs(), 1.0 / 255.0 / 0.224), ("folder-grey", grey.inputs(), 1.0 / 255.0 / 0.25)]
    {
        let expected = expected(name);
        assert_eq!(found.size(), expected.size(), "{name}");
        for row in 0..5 {
            // A JPEG's pixels may differ by one or two of 255 between decoders.
            let room = if files[row as usize].contains(".jp") { 2.5 * step } else { 1e-6 };
            assert!(apart(found, &expected, row) <= room, "{name} {row}: {}", apart(found, &expected, row));
        }
    }
}

#[test]
fn folders_that_cannot_be_read() {
    let folder = Folder::new("folders");
    let load = |images: &Images| dataset::folder(&folder.0, images);
    says(dataset::folder(folder.0.join("none"), &default()), &["none", "No such file"]);
    says(load(&default()), &["a folder for each class, got none"]);
    let class = folder.0.join("cat");
    std::fs::create_dir_all(&class).unwrap();
    std::fs::write(class.join("notes.txt"), "not a picture").unwrap();
    std::fs::write(class.join(".hidden.png"), "not a picture").unwrap();
    says(load(&default()), &["cat", "files ending in .png, .jpg, .jpeg, got none"]);
    let put = |name: &str, bytes: &[u8]| std::fs::write(class.join(name), bytes).unwrap();
    let picture = |name: &str| std::fs::read(golden("images").join(name)).unwrap();
    put("a.png", &picture("rgb.png"));
    assert_eq!(load(&default()).unwrap().inputs().size(), [1, 3, 23, 31]);
    put("b.png", &picture("tall.png"));
    says(load(&default()), &["b.png", "expected 23 x 31 pixels", "cat/a.png, got 40 x 17", "Images.resize"]);
    assert_eq!(load(&Images { resize: Resize::To([5, 5]), ..default() }).unwrap().len(), 2);
    says(load(&Images { crop: Some([30, 10]), ..default() }), &["a.png", "a larger picture", "23 x 31 to cut 30 x 10 from"]);
    for (name, bytes, part) in [
        ("b.png", b"hello".to_vec(), "expected a PNG or JPEG picture"),
        ("b.png", picture("picture.gif"), "expected a PNG or JPEG picture"),
        ("b.png", vec![], "expected a PNG or JPEG picture"),
        ("b.png", picture("rgb.png")[..200].to_vec(), "not a whole and valid PNG picture"),
        ("b.png", picture("444.jpg")[..500].to_vec(), "not a whole and valid JPEG picture"),
        ("b.png", picture("cmyk.jpg"), "got Some(CMYK)"),
    ] {
        put(name, &bytes);
        says(load(&default()), &[name, part]);
    }
    // Contents count, not endings.
    put("b.png", &picture("444.jpg"));
    assert_eq!(load(&default()).unwrap().len(), 2);
    says(load(&Images { mean: vec![0.5], ..default() }), &["Images.mean", "3 numbers", "got 1"]);
    says(load(&Images { deviation: vec![0.5, 0.0, 0.5], ..default() }), &["Images.deviation", "above 0", "got 0"]);
    says(load(&Images { resize: Resize::ShorterSide(0), ..default() }), &["Images.resize", "got 0"]);
    says(load(&Images { crop: Some([1, 1 << 20]), ..default() }), &["Images.crop", "got 1048576"]);
}

/// A header of a few bytes must not ask for gigabytes.
#[test]
fn a_picture_that_claims_to_be_huge_is_refused() {
    let mut png = std::fs::read(golden("images/rgb.png")).unwrap();
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    says(read::bytes::image(&png), &["1 to 67108864 pixels", "65535 x 65535"]);
    png[16..24].copy_from_slice(&[0, 0, 0x1f, 0xff, 0, 0, 0x1f, 0xff]);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    says(read::bytes::image(&png), &["bytes cannot hold 8191 x 8191 pixels"]);
    let mut jpeg = std::fs::read(golden("images/444.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    says(read::bytes::image(&jpeg), &["pixels", "65535 x 65535"]);
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0xff, 0x1f, 0xff]);
    says(read::bytes::image(&jpeg), &["bytes cannot hold 8191 x 8191 pixels"]);
}

#[test]
fn text_is_cut_into_blocks() {
    let tokens: Vec<i64> = (0..10).collect();
    let starts = |blocks: Blocks| -> Vec<u64> {
        let data = blocks.of(&tokens).unwrap();
        data.frame().column("start").unwrap().u64().unwrap().into_no_null_iter().collect()
    };
    assert_eq!(starts(Blocks { length: 3, ..default() }), [0, 3, 6]);
    assert_eq!(starts(Blocks { length: 5, ..default() }), [0], "the last block has no token after it");
    assert_eq!(starts(Blocks { length: 5, shifted: false, ..default() }), [0, 5]);
    assert_eq!(starts(Blocks { length: 4, stride: Some(2), shifted: false }), [0, 2, 4, 6]);
    let same = Blocks { length: 5, shifted: false, ..default() }.of(&tokens).unwrap();
    assert!(same.inputs().equal(same.targets()));
    says(Blocks { length: 10, ..default() }.of(&tokens), &["at least 11 in a row", "got 10"]);
    says(Blocks { length: 0, ..default() }.of(&tokens), &["Blocks.length", "at least 1"]);
    says(Blocks { length: 2, stride: Some(0), ..default() }.of(&tokens), &["Blocks.stride"]);
    says(Blocks { length: usize::MAX, ..default() }.of(&tokens), &["at least"]);
    says(Blocks { length: 1, ..default() }.of(&[0, 1, -1]), &["ids from 0", "got -1 at 2"]);

    let folder = Folder::new("tokens");
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.0.join(name), bytes).unwrap();
        folder.0.join(name)
    };
    let blocks = Blocks { length: 2, ..default() };
    let expected = blocks.of(&[1, 2, 258, 4, 5]).unwrap();
    let npy = folder.0.join("ids.npy");
    Tensor::from_slice(&[1i64, 2, 258, 4, 5]).write_npy(&npy).unwrap();
    for path in [file("ids.bin", &[1, 0, 2, 0, 2, 1, 4, 0, 5, 0]), file("ids.txt", b"1\n2\n258\n4\n5\n"), npy] {
        let data = dataset::tokens(&path, &blocks).unwrap();
        assert!(data.inputs().equal(expected.inputs()) && data.targets().equal(expected.targets()), "{}", path.display());
        assert_eq!(data.name(), "ids");
    }
    says(dataset::tokens(file("odd.bin", &[1, 2, 3]), &blocks), &["odd.bin", "two bytes each, got 3"]);
    says(dataset::tokens(file("short.bin", &[1, 0]), &blocks), &["short.bin", "at least 3 in a row"]);
    says(dataset::tokens(file("words.txt", b"the cat\n"), &blocks), &["words.txt"]);
}

#[test]
fn words_and_characters_have_ids() {
    let text = " the cat \n\n the <unk> sat \n";
    let words = Vocabulary::words(text);
    assert_eq!(words.symbols(), ["the", "cat", "<eos>", "<unk>", "sat"]);
    assert_eq!(words.encode(text).unwrap(), [0, 1, 2, 2, 0, 3, 4, 2]);
    assert_eq!(words.encode("the dog\n").unwrap(), [0, 3, 2], "an unknown word has the token of those");
    assert_eq!(words.decode(&[0, 1, 9]), "the cat ?");
    says(Vocabulary::words("a b").encode("c"), &["\"c\" is none of the 3 symbols"]);
    let letters = Vocabulary::characters("bäa\n");
    assert_eq!(letters.symbols(), ["\n", "a", "b", "ä"]);
    says(letters.encode("<unk>"), &["\"<\" is none of the 4 symbols"]);
    let data = letters.dataset("abäba", &Blocks { length: 2, ..default() }).unwrap();
    assert_eq!(data.frame().column("text").unwrap().str().unwrap().get(1), Some("äb"));
    assert_eq!(data.class_name(3), "ä");
}

/// Where the folder of published data is.
fn published(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ASCRIBE_DATA").map(|data| Path::new(&data).join(name)).filter(|path| path.is_dir());
    if folder.is_none() {
        println!("skipped: ASCRIBE_DATA names no folder that holds {name}");
    }
    folder
}

#[test]
fn tiny_shakespeare_is_the_published_one() {
    if published("tinyshakespeare").is_none() {
        return;
    }
    let (train, validation) = dataset::tiny_shakespeare().unwrap();
    assert_eq!((train.inputs().size(), validation.inputs().size()), (vec![3_921, 256], vec![435, 256]));
    assert_eq!((train.class_name(0), train.class_name(64)), ("\n".into(), "z".into()));
    assert_eq!(train.inputs().max().int64_value(&[]), 64);
    let text = train.frame().column("text").unwrap().str().unwrap();
    assert!(text.get(0).unwrap().starts_with("First Citizen:\nBefore we proceed any further, hear me speak."));
    assert!(train.inputs().narrow(1, 1, 255).equal(&train.targets().narrow(1, 0, 255)));
    let (last, next) =
        (train.targets().narrow(1, 255, 1).narrow(0, 0, 3_920), train.inputs().narrow(1, 0, 1).narrow(0, 1, 3_920));
    assert!(last.equal(&next), "the last target is the first character of the next block");
    assert!(validation.frame().column("text").unwrap().str().unwrap().get(0).unwrap().starts_with("?\n\nGREMIO:"));
}

#[test]
fn wikitext_has_the_published_numbers_of_words() {
    let Some(folder) = published("wikitext-2") else { return };
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (valid, test) = (text("valid.txt"), text("test.txt"));
    let words = Vocabulary::words(&format!("{valid}{test}"));
    // As Merity et al. 2016 count them, with the ends of lines.
    assert_eq!((words.encode(&valid).unwrap().len(), words.encode(&test).unwrap().len()), (217_646, 245_569));
    let blocks = Blocks { length: 512, shifted: false, ..default() };
    assert_eq!(words.dataset(&valid, &blocks).unwrap().inputs().size(), [217_646 / 512, 512]);
}

#[test]
fn pairs_of_cifar_are_the_published_ones() {
    let Some(folder) = published("cifar2") else { return };
    for (pair, classes, first) in [(Cifar2::CatDog, ["cat", "dog"], 3), (Cifar2::AutomobileHorse, ["automobile", "horse"], 1)] {
        let (train, test) = dataset::cifar2(pair).unwrap();
        assert_eq!((train.inputs().size(), test.inputs().size()), (vec![10_000, 3, 32, 32], vec![2_000, 3, 32, 32]));
        let name = format!("cifar2-{}", classes.join("-"));
        assert_eq!((train.name(), test.name()), (format!("{name}-train").as_str(), format!("{name}-test").as_str()));
        assert_eq!((train.class_name(0).as_str(), train.class_name(1).as_str()), (classes[0], classes[1]));
        assert_eq!(train.labels().unwrap().iter().sum::<i64>(), 5_000);
        assert_eq!((train.inputs().min().double_value(&[]), train.inputs().max().double_value(&[])), (-1.0, 1.0));
        // The first record, byte for byte.
        let bytes = std::fs::read(folder.join(format!("{}-train.bin", classes.join("-")))).unwrap();
        let pixel = |channel: i64, row: i64, column: i64| train.inputs().double_value(&[0, channel, row, column]);
        for (channel, row, column) in [(0, 0, 0), (1, 3, 5), (2, 31, 31)] {
            let byte = f64::from(bytes[1 + (channel * 1024 + row * 32 + column) as usize]);
            assert!((pixel(channel, row, column) - (byte / 255.0 - 0.5) / 0.5).abs() < 1e-6);
        }
        assert_eq!(i64::from(bytes[0] != first), train.labels().unwrap()[0]);
        let positions: Vec<u32> = train.frame().column("position").unwrap().u32().unwrap().into_no_null_iter().collect();
        assert!(positions.is_sorted() && *positions.last().unwrap() < 50_000 && positions.len() == 10_000);
    }
}

#[test]
fn music_is_what_python_reads() {
    let golden_json: serde_json::Value = serde_json::from_slice(&std::fs::read(golden("midi/midi.json")).unwrap()).unwrap();
    let midi = read::midi(golden("midi/small.mid")).unwrap();
    let parts = golden_json["notes"].as_array().unwrap();
    assert_eq!(midi.parts.len(), parts.len());
    for (part, (notes, pedal)) in midi.parts.iter().zip(parts.iter().zip(golden_json["pedal"].as_array().unwrap())) {
        let notes: Vec<Vec<f64>> = serde_json::from_value(notes.clone()).unwrap();
        assert_eq!(part.notes.len(), notes.len());
        for (note, expected) in part.notes.iter().zip(&notes) {
            assert_eq!((f64::from(note.pitch), f64::from(note.velocity)), (expected[2], expected[3]));
            assert!((note.start - expected[0]).abs() < 1e-12 && (note.end - expected[1]).abs() < 1e-12);
        }
        let pedal: Vec<(f64, u8)> = serde_json::from_value(pedal.clone()).unwrap();
        assert_eq!(part.pedal.len(), pedal.len());
        assert!(part.pedal.iter().zip(&pedal).all(|(a, b)| (a.0 - b.0).abs() < 1e-12 && a.1 == b.1));
    }
    for (name, events) in [("performance", Events::Performance), ("dattri", Events::Dattri)] {
        let expected: Vec<i64> = serde_json::from_value(golden_json[name].clone()).unwrap();
        let found = events.tokens(&midi).unwrap();
        let first = found.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((first, found.len()), (None, expected.len()), "{name}");
        assert!(found.iter().all(|token| (0..Events::END).contains(token)));
    }
}

#[test]
fn maestro_is_what_python_reads() {
    use sha2::{Digest, Sha256};
    let Some(folder) = published("maestro-v2.0.0") else { return };
    let golden_json: serde_json::Value = serde_json::from_slice(&std::fs::read(golden("midi/midi.json")).unwrap()).unwrap();
    for (file, expected) in golden_json["maestro"].as_object().unwrap() {
        let midi = read::midi(folder.join(file)).unwrap();
        for (name, events) in [("performance", Events::Performance), ("dattri", Events::Dattri)] {
            let tokens = events.tokens(&midi).unwrap();
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let expected: (usize, String) = serde_json::from_value(expected[name].clone()).unwrap();
            assert_eq!((tokens.len(), digest), expected, "{name} of {file}");
        }
    }
    let (train, validation, test) = dataset::maestro(Events::Performance).unwrap();
    for data in [&train, &validation, &test] {
        assert_eq!((data.inputs().size()[1], data.targets().size()), (256, data.inputs().size()));
        assert!(data.inputs().max().int64_value(&[]) < Events::END && data.inputs().min().int64_value(&[]) >= 0);
        assert!(data.inputs().narrow(1, 1, 255).equal(&data.targets().narrow(1, 0, 255)));
    }
    assert!(train.len() > validation.len() && train.frame().column("composer").unwrap().str().unwrap().get(0).is_some());
}

#[test]
fn music_that_cannot_be_read() {
    let whole = std::fs::read(golden("midi/small.mid")).unwrap();
    for length in 0..whole.len() {
        let outcome = read::bytes::midi(&whole[..length]);
        says(outcome, &["data bytes"]);
    }
    let file = |division: [u8; 2], format: u8, track: &[u8]| {
        [&b"MThd\0\0\0\x06\0"[..], &[format, 0, 1], &division, b"MTrk", &(track.len() as u32).to_be_bytes(), track].concat()
    };
    let quarter = [0, 96];
    let cases: [(Vec<u8>, &[&str]); 12] = [
        (b"RIFF....".to_vec(), &["begins with MThd"]),
        (file(quarter, 2, &[]), &["format 0 or 1, got 2"]),
        (file([0xe7, 40], 0, &[]), &["0xe728", "SMPTE"]),
        (file([0, 0], 0, &[]), &["division 0x0000"]),
        (file(quarter, 0, &[0, 0x3c, 0x40]), &["track 0: expected a message, got the data byte 0x3c"]),
        (file(quarter, 0, &[0, 0x90, 0x3c]), &["cut off"]),
        (file(quarter, 0, &[0, 0x90, 0x3c, 0x80]), &["data below 128 after 0x90, got 128"]),
        (file(quarter, 0, &[0xff, 0xff, 0xff, 0xff, 0x7f]), &["more than four bytes"]),
        (file(quarter, 0, &[0, 0xf1, 0]), &["0xf1", "files do not hold"]),
        (file(quarter, 0, &[0, 0xff, 0x51, 3, 0, 0, 0]), &["tempo of 0 microseconds"]),
        (file(quarter, 0, &[0, 0xff, 0x51, 2, 0, 0]), &["a tempo of 2 bytes"]),
        (file([0, 1], 0, &[0, 0x90, 60, 1, 0xff, 0xff, 0xff, 0x7f, 0x80, 60, 0]), &["at most a day"]),
    ];
    for (bytes, parts) in cases {
        says(read::bytes::midi(&bytes), parts);
    }
    let folder = Folder::new("midi");
    says(dataset::midi(&folder.0, Events::Performance, &default()), &["files ending in .mid, .midi, got none"]);
    std::fs::write(folder.0.join("short.mid"), &whole).unwrap();
    says(dataset::midi(&folder.0, Events::Performance, &Blocks { length: 100_000, ..default() }), &["in a row for one block"]);
    let data = dataset::midi(&folder.0, Events::Performance, &Blocks { length: 16, ..default() }).unwrap();
    assert_eq!(data.frame().column("file").unwrap().str().unwrap().get(0), Some("short.mid"));
    std::fs::write(folder.0.join("cut.midi"), &whole[..50]).unwrap();
    says(dataset::midi(&folder.0, Events::Performance, &default()), &["cut.midi", "cut off"]);
    // A pedal that is pressed again and again after the last note repeats all notes in dattri's reading.
    let mut track = vec![0, 0xb0, 64, 127, 0, 0x90, 60, 64, 1, 60, 0];
    (0..300).for_each(|i| track.extend([1, 0xb0, 64, if i % 2 == 0 { 0 } else { 127 }]));
    let midi = read::bytes::midi(&file(quarter, 0, &track)).unwrap();
    says(Events::Dattri.tokens(&midi), &["pedal", "more than 100 times"]);
    assert_eq!(Events::Performance.tokens(&midi).unwrap().len(), 4);
}
