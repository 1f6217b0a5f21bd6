//! What was recorded is what would have been computed; whatever kills, cuts or changes it is noticed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, Folder, assert_close, clusters, difference, says};

fn recording(part_rows: usize) -> Recording {
    Recording { part_rows: Some(part_rows), ..default() }
}

/// What was done with each part.
fn notes(table: &DataFrame) -> Vec<String> {
    let notes = table.column("note").unwrap().str().unwrap();
    notes.iter().map(|note| note.unwrap().to_string()).collect()
}

/// Bytes of every file below a folder, by path; the note's version line does not differ within one run of the tests.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().display().to_string();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

#[track_caller]
fn assert_same_files(a: &Path, b: &Path) {
    let (a, b) = (bytes(a), bytes(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, content) in &a {
        assert!(b[name] == *content, "{name} differs");
    }
}

/// A convolution, and inputs of it that lie in memory in another order than their dimensions.
fn convolution() -> Task {
    Task::new(|p: &nn::Path| {
        let (conv, last) = (layer::conv2d(p / "conv", 1, 3, 2, default()), layer::linear(p / "last", 3, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let seen = tape.conv2d("conv", &conv, &x.view([-1, 1, 2, 2])).relu().flatten(2, -1);
            tape.linear("last", &last, &seen.mean_dim([-1i64].as_slice(), false, None::<Kind>))
        }
    })
}

#[test]
fn every_method_scores_from_a_store_as_without() {
    let mut cases = tasks::all();
    let (train, test) = (cases[0].2.clone(), cases[0].3.clone());
    cases.push(("convolution", convolution().train(&tasks::trainer(), &train).unwrap(), train, test));
    for (name, task, train, test) in cases {
        let folder = Folder::new(&format!("store-{name}"));
        let store = Store::record(&folder.0, &task, &train, &default()).unwrap();
        store.check().unwrap();
        let stored = task.clone().with_store(&store, &train).unwrap();
        // All methods on one network, whose layers have outer products at several positions and table rows; some on the others.
        let some = ["GradDot", "GradCos", "TracIn", "Influence (DataInf)"];
        for method in tasks::methods().into_iter().filter(|method| name == "sequence" || some.contains(&method.name().as_str())) {
            let (from_disk, computed) = (method.fit(&stored, &train).unwrap(), method.fit(&task, &train).unwrap());
            let (mine, truth) = (from_disk.matrix(&test).unwrap(), computed.matrix(&test).unwrap());
            assert!(mine.equal(&truth), "{} on {name}: {:.1e}", method.name(), difference(&mine, &truth));
            if let (Ok(mine), Ok(truth)) = (from_disk.self_scores(), computed.self_scores()) {
                assert!(mine.equal(&truth), "self-influence, {} on {name}", method.name());
            }
        }
    }
}

#[test]
fn parts_half_and_formed_rows_change_rounding_only() {
    for (name, task, train, test) in tasks::all() {
        let truth = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
        let forms = [
            ("parts", Recording { part_rows: Some(7), ..default() }, 1e-6),
            ("rows", Recording { keep: Kept::Rows, part_rows: Some(10), ..default() }, 2e-6),
            ("half", Recording { half: true, ..default() }, 2e-3),
        ];
        for (form, recording, tolerance) in forms {
            let folder = Folder::new(&format!("store-{name}-{form}"));
            let store = Store::record(&folder.0, &task, &train, &recording).unwrap();
            let task = task.clone().with_store(&store, &train).unwrap();
            let mine = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
            assert_close(mine.tensor(), truth.tensor(), tolerance, &format!("{form} of {name}"));
            if form == "half" {
                assert!(difference(mine.tensor(), truth.tensor()) > 1e-7, "float16 cannot be exact");
            }
        }
    }
}

/// Counts the examples that go through its forward pass.
fn counting(count: &Arc<AtomicUsize>) -> Task {
    let count = count.clone();
    Task::new(move |p: &nn::Path| {
        let (mlp, count) = (Mlp::new(p, &[4, 6, 3]), count.clone());
        move |x: &Tensor, tape: &mut Tape| {
            count.fetch_add(x.size()[0] as usize, Ordering::Relaxed);
            mlp.forward(x, tape)
        }
    })
}

#[test]
fn train_examples_are_not_computed_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let (train, test) = (clusters(600, 1), clusters(5, 2));
    let task = counting(&count).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let folder = Folder::new("store-count");
    let store = Store::record(&folder.0, &task, &train, &recording(100)).unwrap();
    let stored = task.clone().with_store(&store, &train).unwrap();
    let passes = |task: &Task, method: &dyn Method, train: &Dataset| {
        count.store(0, Ordering::Relaxed);
        method.fit(task, train).unwrap().score(&test).unwrap();
        count.load(Ordering::Relaxed)
    };
    let methods: [Box<dyn Method>; 3] =
        [Box::new(GradDot::default()), Box::new(Influence::new(DataInf::default())), Box::new(GradCos::default())];
    for method in &methods {
        let name = method.name();
        assert!(passes(&task, method.as_ref(), &train) > 600, "{name} computes");
        assert!(passes(&stored, method.as_ref(), &train) < 100, "{name} reads");
        // Equal numbers in another place are the same data; other numbers are not.
        let copy = train.select(&(0..600).collect::<Vec<_>>()).unwrap();
        assert!(passes(&stored, method.as_ref(), &copy) < 100, "{name} reads for a copy");
        let other = dataset::flip_labels(&train, 60, 0).unwrap();
        assert!(passes(&stored, method.as_ref(), &other) > 600, "{name} computes for other labels");
    }
}

#[test]
fn numpy_layout_and_table() {
    use ndarray_npy::ReadNpyExt;
    let (train, task) = (clusters(24, 1), tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap());
    let folder = Folder::new("store-npy");
    let store = Store::record(&folder.0, &task, &train, &recording(10)).unwrap();
    let gradients = task.snapshot(1).unwrap().gradients(Of::Objective, &train).unwrap().dense().unwrap();
    let open = |name: &str| std::fs::File::open(folder.0.join(name)).unwrap();
    let input = ndarray::Array4::<f32>::read_npy(open("c001/part-00002-fc2.input.npy")).unwrap();
    let delta = ndarray::Array4::<f32>::read_npy(open("c001/part-00002-fc2.delta.npy")).unwrap();
    assert_eq!((input.shape(), delta.shape()), ([4, 1, 1, 6].as_slice(), [4, 1, 1, 3].as_slice()));
    let weight = task.snapshot(1).unwrap().layout().entries().iter().find(|e| e.name == "fc2.weight").unwrap().clone();
    for (example, output, column) in [(0, 0, 0), (3, 2, 5)] {
        let product = f64::from(delta[[example, 0, 0, output]] * input[[example, 0, 0, column]]);
        let place = weight.offset + output as i64 * 6 + column as i64;
        assert!((product - gradients.double_value(&[20 + example as i64, place])).abs() < 1e-6);
    }
    let table = store.frame().unwrap();
    assert_eq!(table.height(), 6);
    let column = |name: &str| table.column(name).unwrap().clone();
    assert_eq!(column("rows").u32().unwrap().into_no_null_iter().collect::<Vec<_>>(), [10, 10, 4, 10, 10, 4]);
    assert!(column("whole").bool().unwrap().all() && column("bytes").u64().unwrap().into_no_null_iter().all(|bytes| bytes > 500));
    let said = format!("{store:?}");
    assert!(said.contains("factors of the objective log-likelihood") && said.contains("6 of 6 parts"), "{said}");
}

/// A network that takes its time, so that there is a middle to be killed in.
fn slow() -> (Task, Dataset) {
    let train = clusters(40, 3);
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let slow = Task::new(|p: &nn::Path| {
        let mlp = Mlp::new(p, &[4, 6, 3]);
        move |x: &Tensor, tape: &mut Tape| {
            if std::env::var_os("ASCRIBE_TEST_STORE").is_some() {
                std::thread::sleep(Duration::from_millis(15));
            }
            mlp.forward(x, tape)
        }
    });
    (slow.with_checkpoints(task.checkpoints().to_vec()).unwrap(), train)
}

/// Not a test of its own: what the killed process runs.
#[test]
#[ignore = "the child of a_killed_job_resumes"]
fn child() {
    let folder = std::env::var_os("ASCRIBE_TEST_STORE").expect("only run by a_killed_job_resumes");
    let (task, train) = slow();
    Store::record(Path::new(&folder), &task, &train, &recording(4)).unwrap();
}

#[test]
fn a_killed_job_resumes() {
    let (whole, killed) = (Folder::new("store-whole"), Folder::new("store-killed"));
    let (task, train) = slow();
    Store::record(&whole.0, &task, &train, &recording(4)).unwrap();
    let run = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "store::child", "--ignored"]).env("ASCRIBE_TEST_STORE", &killed.0);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for part in [2, 7] {
        let mut child = run();
        let start = Instant::now();
        while !killed.0.join(format!("c000/part-{part:05}.json")).exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "the child writes nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        says(Store::open(&killed.0), &["of 20 parts are missing", "and", "more"]);
    }
    // A process that dies between two files of a part leaves some, and one half written.
    std::fs::write(killed.0.join("c001/part-00009-fc1.input.npy"), b"half").unwrap();
    std::fs::write(killed.0.join("c001/part-00009-fc1.delta.npy.77.tmp"), b"half").unwrap();
    let store = Store::record(&killed.0, &task, &train, &recording(4)).unwrap();
    let notes = notes(&store.frame().unwrap());
    assert_eq!((notes[0].as_str(), notes[19].as_str()), ("found", "written"));
    assert_same_files(&whole.0, &killed.0);
}

#[test]
fn processes_that_share_a_folder_share_the_work() {
    let (whole, shared) = (Folder::new("store-alone"), Folder::new("store-shared"));
    let (task, train) = slow();
    Store::record(&whole.0, &task, &train, &recording(4)).unwrap();
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let folder = shared.0.clone();
            std::thread::spawn(move || {
                let (task, train) = slow();
                Store::record(folder, &task, &train, &recording(4)).unwrap().frame().unwrap()
            })
        })
        .collect();
    let written = |table: DataFrame| notes(&table).iter().filter(|note| *note == "written").count();
    let counts: Vec<usize> = jobs.into_iter().map(|job| written(job.join().unwrap())).collect();
    assert_eq!(counts.iter().sum::<usize>(), 20, "each part is written once: {counts:?}");
    assert_same_files(&whole.0, &shared.0);
}

#[test]
fn jobs_of_an_array_merge_into_one_store() {
    let (train, task) = (clusters(24, 1), tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap());
    let (whole, shared, merged) = (Folder::new("store-one"), Folder::new("store-array"), Folder::new("store-merged"));
    Store::record(&whole.0, &task, &train, &recording(5)).unwrap();
    let own: Vec<Folder> = (0..3).map(|index| Folder::new(&format!("store-job-{index}"))).collect();
    for (index, folder) in own.iter().enumerate() {
        let mine = Recording { shard: Shard { index, count: 3 }, ..recording(5) };
        Store::record(&shared.0, &task, &train, &mine).unwrap();
        Store::record(&folder.0, &task, &train, &mine).unwrap();
    }
    let folders: Vec<&Path> = own.iter().map(|folder| folder.0.as_path()).collect();
    says(Store::open(folders[0]), &["6 of 10 parts are missing", "c000/part-00001, c000/part-00002, c000/part-00004"]);
    says(
        task.clone().with_store(
            &Store::record(folders[0], &task, &train, &Recording { shard: Shard { index: 0, count: 3 }, ..recording(5) })
                .unwrap(),
            &train,
        ),
        &["missing"],
    );
    says(Store::merge(merged.0.join("two"), &folders[..2]), &["3 of 10 parts are missing", "c000/part-00002"]);
    let store = Store::merge(merged.0.join("all"), &folders).unwrap();
    store.check().unwrap();
    assert_same_files(&whole.0, &merged.0.join("all"));
    assert_same_files(&whole.0, &shared.0);
    says(Store::merge(&merged.0, &[] as &[&Path]), &["folders", "at least one"]);
    // A job with other weights does not get in.
    let other = tasks::mlp().train(&Trainer { seed: 9, ..tasks::trainer() }, &train).unwrap();
    let foreign = Folder::new("store-foreign");
    Store::record(&foreign.0, &other, &train, &recording(5)).unwrap();
    says(Store::merge(merged.0.join("mixed"), &[folders[0], &foreign.0]), &["weights", "run 0, step", "SHA-256"]);
}

#[test]
fn a_store_of_something_else_is_refused() {
    let (train, task) = (clusters(24, 1), tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap());
    let folder = Folder::new("store-refused");
    let store = Store::record(&folder.0, &task, &train, &recording(10)).unwrap();
    let refuses = |task: &Task, train: &Dataset, parts: &[&str]| {
        says(task.clone().with_store(&store, train), parts);
        says(Store::record(&folder.0, task, train, &recording(10)), parts);
    };
    let other = tasks::mlp().train(&Trainer { seed: 9, ..tasks::trainer() }, &train).unwrap();
    refuses(&other, &train, &["weights", "expected run 0, step", "SHA-256", "got run 0, step"]);
    refuses(&task, &train.head(23).unwrap(), &["number of examples", "expected 24, got 23"]);
    refuses(&task, &clusters(24, 5), &["SHA-256 of the inputs"]);
    refuses(&task, &dataset::flip_labels(&train, 5, 0).unwrap(), &["SHA-256 of the targets"]);
    refuses(
        &task,
        &clusters(30, 1).head(24).unwrap().select(&(0..24).rev().collect::<Vec<_>>()).unwrap(),
        &["SHA-256 of the inputs"],
    );
    refuses(&task.clone().with_objective(Margin), &train, &["gradients of", "log-likelihood", "margin"]);
    refuses(
        &tasks::logistic().train(&tasks::trainer(), &train).unwrap(),
        &train,
        &["architecture", "expected fc1.bias [6], got linear.bias [3]"],
    );
    let longer = tasks::mlp().train(&Trainer { epochs: 7, ..tasks::trainer() }, &train).unwrap();
    says(longer.with_store(&store, &train), &["expected run 0, step 15; run 0, step 18, got run 0, step 21"]);
    // The same parameters and names, another function.
    let steep = Task::new(|p: &nn::Path| {
        let (first, second) = (layer::linear(p / "fc1", 4, 6), layer::linear(p / "fc2", 6, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("fc1", &first, x).sin();
            tape.linear("fc2", &second, &hidden)
        }
    });
    let steep = steep.with_checkpoints(task.checkpoints().to_vec()).unwrap();
    says(steep.with_store(&store, &train), &["gradient of example", "run 0, step 15", "architecture"]);
    let again = |recording: Recording, parts: &[&str]| says(Store::record(&folder.0, &task, &train, &recording), parts);
    again(Recording { half: true, ..recording(10) }, &["dtype", "expected float32, got float16"]);
    again(Recording { keep: Kept::Rows, ..recording(10) }, &["kept form", "expected factors, got rows"]);
    again(recording(11), &["examples", "10", "11"]);
    again(recording(0), &["Recording.part_rows", "at least 1"]);
    again(Recording { shard: Shard { index: 4, count: 4 }, ..recording(10) }, &["Shard.index", "0 to 3", "got 4"]);
    again(Recording { shard: Shard { index: 0, count: 0 }, ..recording(10) }, &["Shard.count", "at least 1"]);
    says(Store::record(&folder.0, &tasks::mlp(), &train, &default()), &["no checkpoints"]);
    // Another objective afterwards: the store is no longer used.
    let turned = task.clone().with_store(&store, &train).unwrap().with_objective(Margin);
    let plain = task.clone().with_objective(Margin);
    let scores = |task: &Task| GradDot::default().fit(task, &train).unwrap().score(&clusters(5, 2)).unwrap();
    assert!(scores(&turned).tensor().equal(scores(&plain).tensor()));
}

#[test]
fn cut_and_changed_files_are_named_and_written_again() {
    let (train, task) = (clusters(24, 1), tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap());
    let (folder, whole) = (Folder::new("store-cut"), Folder::new("store-uncut"));
    Store::record(&whole.0, &task, &train, &recording(10)).unwrap();
    let file = folder.0.join("c000/part-00001-fc1.delta.npy");
    let note = folder.0.join("c000/part-00001.json");
    let edit = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = std::fs::read(path).unwrap();
        change(&mut content);
        std::fs::write(path, content).unwrap();
    };
    let replace = |path: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    type Damage<'a> = (&'a dyn Fn(), &'a [&'a str]);
    let damages: [Damage; 9] = [
        (&|| edit(&file, &|content| content.truncate(200)), &["part-00001-fc1.delta.npy", "bytes, got 200"]),
        (&|| edit(&file, &|content| content[150] ^= 1), &["part-00001-fc1.delta.npy", "have changed", "CRC-32"]),
        (&|| std::fs::remove_file(&file).unwrap(), &["part-00001-fc1.delta.npy", "No such file"]),
        (&|| std::fs::remove_file(&note).unwrap(), &["1 of 6 parts are missing: c000/part-00001"]),
        (&|| edit(&note, &|content| content.truncate(40)), &["part-00001.json", "not the expected JSON"]),
        (&|| replace(&note, "\"rows\": 10", "\"rows\": 9"), &["part-00001.json", "was changed"]),
        (&|| replace(&note, "      6\n", "      7\n"), &["part-00001.json", "was changed"]),
        (&|| replace(&note, "\"float32\"", "\"float64\""), &["part-00001.json", "was changed"]),
        (&|| replace(&note, "part-00001-fc1.delta.npy", "../../x"), &["part-00001.json", "was changed"]),
    ];
    for (damage, parts) in damages {
        Store::record(&folder.0, &task, &train, &recording(10)).unwrap();
        assert_same_files(&whole.0, &folder.0);
        damage();
        // At the border, or at the latest when the part is read; never a score from it.
        let read = Store::open(&folder.0)
            .and_then(|store| GradDot::default().fit(&task.clone().with_store(&store, &train)?, &train)?.score(&train));
        says(read, parts);
    }
    let store = Store::record(&folder.0, &task, &train, &recording(10)).unwrap();
    let notes = notes(&store.frame().unwrap());
    assert!(notes[1].starts_with("written again") && notes[1].contains("part-00001.json"), "{}", notes[1]);
    replace(&folder.0.join("store.json"), "\"examples\": 24", "\"examples\": 25");
    says(Store::record(&folder.0, &task, &train, &recording(10)), &["number of examples", "expected 25, got 24"]);
    // Sizes that nothing has: an answer at once, and not one of libtorch.
    let sizes: [(&str, &str, &[&str]); 7] = [
        (
            "\"examples\": 25",
            "\"examples\": 1000000000000000000",
            &["examples", "expected 1 to 4294967295", "got 1000000000000000000"],
        ),
        ("\"examples\": 1000000000000000000", "\"examples\": 4000000000", &["parts of all checkpoints", "got 800000000"]),
        ("\"examples\": 4000000000", "\"examples\": 40000000", &["more than 8 of 8000000 parts are missing: c000/part-00003, "]),
        ("\"examples\": 40000000", "\"examples\": 0", &["contradicts itself", "examples", "got 0"]),
        ("\"examples\": 0", "\"examples\": 24", &[]),
        (
            "\"part_rows\": 10",
            "\"part_rows\": 18446744073709551615",
            &["part_rows", "expected 1 to 24, got 18446744073709551615"],
        ),
        ("\"part_rows\": 18446744073709551615", "\"part_rows\": 10", &[]),
    ];
    for (from, to, parts) in sizes {
        replace(&folder.0.join("store.json"), from, to);
        match parts.is_empty() {
            true => drop(Store::open(&folder.0).unwrap()),
            false => says(Store::open(&folder.0), parts),
        }
    }
    replace(&folder.0.join("store.json"), "\"format\": 1", "\"format\": 7");
    says(Store::open(&folder.0), &["format 1", "format 7"]);
    says(Store::open(folder.0.join("nowhere")), &["store.json", "No such file"]);
    std::fs::write(folder.0.join("file"), b"").unwrap();
    says(Store::record(folder.0.join("file"), &task, &train, &default()), &["file/c000"]);
}

/// Keeps some columns, which ones by the seed and the member.
#[derive(Debug)]
struct Columns(u64);

struct Chosen(Tensor, Vec<projection::Part>);

impl Projection for Columns {
    fn name(&self) -> String {
        format!("Columns(seed {})", self.0)
    }

    fn fit(&self, layout: &Arc<ascribe::gradient::Layout>, member: u64) -> ascribe::Result<Box<dyn Projector>> {
        let first = (self.0 + member) as i64;
        let index = Tensor::from_slice(&[first, first + 7, layout.p() - 1]);
        Ok(Box::new(Chosen(index, vec![projection::Part { name: "all".into(), offset: 0, len: 3 }])))
    }
}

impl Projector for Chosen {
    fn parts(&self) -> &[projection::Part] {
        &self.1
    }

    fn rows(&self, rows: &Tensor) -> ascribe::Result<Tensor> {
        Ok(rows.index_select(1, &self.0))
    }
}

#[test]
fn features_are_kept_by_projection_and_member() {
    let (train, task) = (clusters(24, 1), tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap());
    let folder = Folder::new("store-features");
    let features = |seed: u64| Recording { keep: Kept::Features(Arc::new(Columns(seed))), ..recording(10) };
    let store = Store::record(&folder.0, &task, &train, &features(1)).unwrap();
    assert_eq!((task.member(0), task.member(1)), (15, 18));
    for (at, member) in [(0, 15), (1, 18)] {
        let rows = task.snapshot(at).unwrap().gradients(Of::Objective, &train).unwrap().dense().unwrap();
        let truth = rows.index_select(1, &Tensor::from_slice(&[1 + member, 8 + member, rows.size()[1] - 1]));
        assert_close(&store.features(at).unwrap(), &truth, 1e-6, "features");
        assert_close(&store.feature_rows(at, 8, 13).unwrap(), &truth.narrow(0, 8, 5), 1e-6, "some rows");
    }
    says(store.feature_rows(0, 20, 25), &["examples of 0 to 24", "20 to 25"]);
    says(Store::record(&folder.0, &task, &train, &features(2)), &["projection", "expected Columns(seed 1), got Columns(seed 2)"]);
    let stored = task.clone().with_store(&store, &train).unwrap();
    let snapshot = stored.snapshot(1).unwrap();
    let ask = |data: &Dataset, name: &str, member: u64| snapshot.stored_features(Of::Objective, data, name, member);
    let found = ask(&train, "Columns(seed 1)", 18).unwrap().expect("features of these examples");
    assert!(found.equal(&store.features(1).unwrap()));
    says(ask(&train, "Columns(seed 2)", 18), &["Columns(seed 2), member 18", "Columns(seed 1), member 18"]);
    says(ask(&train, "Columns(seed 1)", 15), &["member 15", "member 18"]);
    assert!(ask(&clusters(24, 5), "Columns(seed 1)", 18).unwrap().is_none());
    let other = stored.clone().with_measurement(Margin).snapshot(1).unwrap();
    assert!(other.stored_features(Of::Measurement, &train, "Columns(seed 1)", 18).unwrap().is_none());
    assert!(other.stored_features(Of::Objective, &train, "Columns(seed 1)", 18).unwrap().is_some());
    // Features are no gradients: those are computed.
    let scores = |task: &Task| GradDot::default().fit(task, &train).unwrap().score(&clusters(5, 2)).unwrap();
    assert!(scores(&stored).tensor().equal(scores(&task).tensor()));
    let plain = Folder::new("store-no-features");
    says(Store::record(&plain.0, &task, &train, &default()).unwrap().features(0), &["unsupported", "holds factors"]);
}
