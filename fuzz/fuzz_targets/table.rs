#![no_main]

use ascribe::dataset::{Columns, Dataset};

// Through a file, since a CSV table is read from one.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("ascribe-fuzz-{}.csv", std::process::id()));
    std::fs::write(&path, bytes).expect("a folder for temporary files");
    ascribe_fuzz::one_line(Dataset::from_csv(&path, &Columns { standardise: true, ..Columns::default() }));
});
