use super::*;
use std::sync::mpsc::{Receiver, channel};

fn recorded(total: u64, place: Place) -> (Progress, Receiver<String>) {
    let (send, receive) = channel();
    (Progress::in_place("training", total, place, Box::new(move |text| drop(send.send(text.to_string())))), receive)
}

/// What is said when a tenth of the work takes `step` milliseconds.
fn run(place: Place, step: u64) -> Vec<String> {
    let (mut progress, said) = recorded(10, place);
    let start = progress.start;
    for done in 1..=10 {
        progress.at(done, start + Duration::from_millis(step * done));
    }
    progress.end(start + Duration::from_millis(step * 10));
    drop(progress);
    said.iter().collect()
}

#[test]
fn short_work_is_silent() {
    assert!(run(Place::Terminal, 90).is_empty());
    assert!(run(Place::Notebook, 90).is_empty());
    assert!(run(Place::Nowhere, 5000).is_empty());
}

#[test]
fn a_notebook_gets_few_lines() {
    let lines = ["training  10 %  1 s, about 9 s left\n", "training  40 %  4 s, about 6 s left\n"];
    assert_eq!(run(Place::Notebook, 1000)[..2], lines);
    assert_eq!(run(Place::Notebook, 1000)[2..], ["training  70 %  7 s, about 3 s left\n", "training 100 %  10 s\n"]);
}

#[test]
fn a_terminal_line_is_rewritten_and_ended() {
    let said = run(Place::Terminal, 500);
    assert_eq!(said.first().map(String::as_str), Some("\rtraining  20 %  1 s, about 4 s left\x1b[K"));
    assert_eq!(said.last().map(String::as_str), Some("\rtraining 100 %  5 s\x1b[K\n"));
    assert_eq!(said.len(), 9);
    assert!(run(Place::Terminal, 110).len() <= 3);
}

#[test]
fn work_that_stops_early_does_not_claim_to_be_done() {
    let (mut progress, said) = recorded(4, Place::Notebook);
    progress.at(1, progress.start + Duration::from_secs(8));
    drop(progress);
    assert!(said.iter().all(|line| line.contains(" 25 %")));
}

#[test]
fn the_place_follows_the_environment() {
    assert_eq!(Place::of(Some("off"), true, true), Place::Nowhere);
    assert_eq!(Place::of(None, true, true), Place::Notebook);
    assert_eq!(Place::of(Some("on"), false, true), Place::Terminal);
    assert_eq!(Place::of(None, false, false), Place::Nowhere);
}

#[test]
fn times_read_well_and_nothing_divides_by_zero() {
    assert_eq!([time(0.4), time(75.0), time(7260.0)], ["0 s", "1 min 15 s", "2 h 01 min"]);
    assert_eq!(line("a", 0, 5, SILENT), "a   0 %  1 s");
    assert_eq!(line("a", 0, 0, SILENT), "a 100 %  1 s");
}

#[test]
fn more_than_the_total_is_the_total() {
    let (mut progress, _said) = recorded(4, Place::Nowhere);
    progress.add(3);
    progress.add(u64::MAX);
    assert_eq!(progress.done, 4);
}
