//! What NumPy reads of the files that are written here.

use std::path::Path;
use std::process::Command;

use ascribe::prelude::*;
use ascribe::tch::Kind;

use crate::tasks::{self, Folder, clusters};

/// Lines that the Python of `.venv` prints for a program; `None` where it was not set up, which `make test` does.
fn python(program: &str, arguments: &[&Path]) -> Option<Vec<String>> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing: run scripts/setup tests", python.display());
        return None;
    }
    let output = Command::new(python).args(["-I", "-c", program]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect())
}

#[test]
fn saved_scores_are_the_same_numbers_in_numpy() {
    let (train, test) = (clusters(30, 1), clusters(7, 2));
    let task = tasks::mlp().train(&Trainer { epochs: 2, ..default() }, &train).unwrap();
    let scores = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
    let folder = Folder::new("numpy");
    let file = folder.0.join("scores.npy");
    scores.save(&file).unwrap();
    let program = "import numpy, sys; x = numpy.load(sys.argv[1]); print(x.dtype, x.shape, x.flags.c_contiguous)\n\
                   for value in x.ravel(): print(value.item().hex())";
    let Some(lines) = python(program, &[&file]) else { return };
    assert_eq!(lines[0], "float32 (7, 30) True");
    // Python prints the exact binary value; so does this, of a float64 that holds a float32 exactly.
    let ours = Vec::<f64>::try_from(scores.tensor().to_kind(Kind::Double).reshape([-1])).unwrap();
    let program = "import sys\nfor value in sys.argv[1:]: print(float(value).hex())";
    let ours: Vec<String> = ours.iter().map(|value| format!("{value:?}")).collect();
    let ours: Vec<&Path> = ours.iter().map(Path::new).collect();
    assert_eq!(lines[1..], python(program, &ours).unwrap());
}
