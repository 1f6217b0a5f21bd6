//! Every golden file cut off at each byte, and thousands of times damaged: an answer or one line, never a panic.
//!
//! `ASCRIBE_FUZZ_SECONDS=120 cargo test --test suite read::mutation -- --nocapture` goes on for that long, with other damage.

use std::time::{Duration, Instant};

use ascribe::Error;
use ascribe::dataset::{Columns, Events};
use ascribe::prelude::*;

use super::{bytes_of, golden};

type Reader = fn(&[u8]) -> Result<(), Error>;

/// What reads a golden file of this name.
fn readers(name: &str) -> Vec<Reader> {
    let ending = name.rsplit('.').next().unwrap_or_default();
    match ending {
        "npy" | "mmap" => vec![|b| read::bytes::npy(b).map(used), |b| read::bytes::indices(b).map(drop)],
        "npz" => vec![|b| read::bytes::npz(b).map(|all| all.into_iter().for_each(|(_, tensor)| used(tensor)))],
        "pkl" => {
            vec![|b| read::bytes::pickle(b).map(|value| used_value(&value)), |b| read::bytes::d_trak_losses(b).map(used), |b| {
                read::bytes::indices(b).map(drop)
            }]
        }
        "pt" | "pth" => vec![|b| read::bytes::torch(b).map(|value| used_value(&value)), |b| {
            read::bytes::state_dict(b).map(|all| all.into_iter().for_each(|(_, tensor)| used(tensor)))
        }],
        "safetensors" => {
            vec![|b| read::bytes::safetensors(b).map(|all| all.into_iter().for_each(|(_, tensor)| used(tensor))), |b| {
                read::bytes::weights(b).map(|all| all.into_iter().for_each(|(_, tensor)| used(tensor)))
            }]
        }
        "png" | "jpg" => vec![|b| read::bytes::image(b).map(used)],
        "mid" => vec![|b| {
            let midi = read::bytes::midi(b)?;
            let tokens = [Events::Performance, Events::Dattri].map(|events| events.tokens(&midi));
            let [performance, dattri] = tokens;
            performance?.iter().chain(&dattri?).for_each(|token| assert!((0..Events::END).contains(token)));
            Ok(())
        }],
        "csv" if name.ends_with("people.csv") => vec![table],
        "csv" => vec![|b| read::bytes::bayesian_scores(b).map(|table| used(table.values))],
        "txt" => vec![|b| read::bytes::indices(b).map(drop)],
        _ => vec![],
    }
}

/// A table is read from a file.
fn table(bytes: &[u8]) -> Result<(), Error> {
    let path =
        std::env::temp_dir().join(format!("ascribe-mutation-{}-{:?}.csv", std::process::id(), std::thread::current().id()));
    std::fs::write(&path, bytes).unwrap();
    let columns = Columns { metadata: vec!["name".into()], standardise: true, ..default() };
    let outcome = Dataset::from_csv(&path, &columns);
    std::fs::remove_file(&path).unwrap();
    outcome.map(|data| used(data.inputs().shallow_clone()))
}

/// Touches every element, so that a tensor over memory that is not its own would show.
fn used(tensor: Tensor) {
    let copy = tensor.contiguous();
    assert!(copy.numel() < 1 << 24, "a small file gave {:?}", copy.size());
    let _ = copy.sum(ascribe::tch::Kind::Double).double_value(&[]);
}

fn used_value(value: &read::Value) {
    match value {
        read::Value::Tensor(tensor) => used(tensor.shallow_clone()),
        read::Value::List(items) | read::Value::Tuple(items) | read::Value::Set(items) => items.iter().for_each(used_value),
        read::Value::Dict(entries) => entries.iter().for_each(|(key, value)| (used_value(key), used_value(value)).1),
        _ => {}
    }
}

/// Whether the bytes were read; a panic inside would have become an error that says so.
fn tried(name: &str, reader: Reader, bytes: &[u8]) -> bool {
    let outcome = reader(bytes);
    if let Err(error) = &outcome {
        let line = format!("{error:?}");
        let fine = matches!(error, Error::Data { .. }) && !line.contains('\n') && !line.contains("panicked") && line.len() < 600;
        assert!(fine, "{name}: {line}\n{bytes:?}");
    }
    outcome.is_ok()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(golden("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !readers(name).is_empty() && !name.starts_with("ddpm-"));
    let others = [
        "weights/kinds.safetensors",
        "weights/plain.safetensors",
        "images/rgb.png",
        "images/palette.png",
        "images/16.png",
        "images/420.jpg",
        "images/progressive.jpg",
        "images/grey.jpg",
        "midi/small.mid",
        "own/people.csv",
    ];
    names.extend(others.map(|name| format!("../{name}")));
    names.sort();
    names
}

#[test]
fn cut_off_at_every_byte() {
    for name in names() {
        let bytes = bytes_of(&name);
        for reader in readers(&name) {
            // A list of numbers or a table may end anywhere.
            let ends_anywhere = name.ends_with(".txt") || name.ends_with(".csv");
            for length in (0..bytes.len()).step_by(1 + bytes.len() / 1200) {
                assert!(!tried(&name, reader, &bytes[..length]) || ends_anywhere, "{name} cut off at {length} was read");
            }
        }
    }
}

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Mostly one, at most four of: a flipped bit, a telling byte, an extreme number, a piece removed, repeated, or taken from another file.
fn damage(bytes: &mut Vec<u8>, other: &[u8], draws: &mut Draws) {
    const TELLING: &[u8] =
        b"\x00\x01\x7f\x80\xff.(){}[]abcdeghijlopqrstuRQNKMJLXUTSCB\x81\x85\x86\x87\x8a\x8b\x8e\x92\x93\x94\x95";
    for _ in 0..=draws.below(4) * draws.below(2) {
        let (at, length) = (draws.below(bytes.len()), 1 + draws.below(16));
        let end = (at + length).min(bytes.len());
        match draws.below(7) {
            _ if bytes.is_empty() => bytes.extend(other),
            0 => bytes[at] ^= 1 << draws.below(8),
            1 => bytes[at] = TELLING[draws.below(TELLING.len())],
            2 => bytes[at] = draws.next() as u8,
            3 => {
                let extreme = [0, 1, u64::MAX, 1 << 31, 1 << 63, u64::from(u32::MAX)][draws.below(6)].to_le_bytes();
                let size = [2, 4, 8][draws.below(3)].min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&extreme[..size]);
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = draws.below(other.len());
                let piece = other[from..(from + length).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
        }
    }
}

/// Makes the checksums of a stored zip archive right again, so that damage reaches what is inside.
fn mend(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let records: Vec<usize> = (0..bytes.len().saturating_sub(46)).filter(|i| bytes[*i..].starts_with(b"PK\x01\x02")).collect();
    for record in records {
        let (size, local) = (word(bytes, record + 20), word(bytes, record + 42));
        if local + 30 > bytes.len() {
            continue;
        }
        let begin = local + 30 + (word(bytes, local + 26) & 0xFFFF) + (word(bytes, local + 26) >> 16);
        let Some(content) = begin.checked_add(size).and_then(|end| bytes.get(begin..end)) else { continue };
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sum = crc.sum().to_le_bytes();
        bytes[record + 16..record + 20].copy_from_slice(&sum);
    }
}

#[test]
fn damaged() {
    let seconds: Option<u64> = std::env::var("ASCRIBE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let files: Vec<(String, Vec<u8>)> = names().into_iter().map(|name| (name.clone(), bytes_of(&name))).collect();
    let mut draws = Draws(seconds.map_or(0, |_| std::process::id().into()));
    let (begin, mut runs, mut read) = (Instant::now(), 0u64, 0u64);
    let mut round = 0;
    while seconds.map_or(round < 300, |s| begin.elapsed() < Duration::from_secs(s)) {
        for (name, bytes) in &files {
            let (mut damaged, other) = (bytes.clone(), &files[draws.below(files.len())].1);
            damage(&mut damaged, other, &mut draws);
            if name.contains(".pt") && draws.below(8) > 0 {
                mend(&mut damaged);
            }
            for reader in readers(name) {
                read += u64::from(tried(name, reader, &damaged));
                runs += 1;
            }
        }
        round += 1;
    }
    // Damage that always stops at the first check would test nothing behind it.
    assert!(read * 50 > runs && read * 4 < runs, "{read} of {runs} damaged files were read");
    eprintln!("{runs} damaged files, {read} read, {:.1} s", begin.elapsed().as_secs_f64());
}
