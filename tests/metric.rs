//! Metrics against counts by hand.

use ascribe::polars::df;
use ascribe::prelude::*;

fn found(table: &DataFrame) -> Vec<f64> {
    table.column("found").unwrap().f64().unwrap().into_no_null_iter().collect()
}

#[test]
fn detection_counts_and_shares_ties() {
    let table = df!("score" => [3.0, 1.0, 2.0, 2.0, 2.0], "planted" => [true, false, true, false, false]).unwrap();
    let curve = metric::detection(&table, "score", "planted").unwrap();
    let third = 1.0 / 3.0;
    for (a, b) in found(&curve).iter().zip([0.0, 0.5, 0.5 + 0.5 * third, 0.5 + third, 1.0, 1.0]) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    let of = |name: &str| curve.column(name).unwrap().f64().unwrap().into_no_null_iter().collect::<Vec<_>>();
    assert!(of("low").iter().zip(found(&curve)).all(|(low, f)| *low <= f + 1e-12));
    assert!(of("high").iter().zip(found(&curve)).all(|(high, f)| *high >= f - 1e-12));
}

#[test]
fn detection_refuses_what_it_cannot_rank() {
    let table = df!("score" => [3.0, f64::NAN], "planted" => [true, false], "none" => [false, false]).unwrap();
    let message = |r: Result<DataFrame, Error>| format!("{:?}", r.err().unwrap());
    assert!(message(metric::detection(&table, "score", "planted")).contains("row 1"));
    assert!(message(metric::detection(&table, "planted", "none")).contains("at least one planted"));
    assert!(message(metric::detection(&table, "absent", "none")).contains("absent"));
}
