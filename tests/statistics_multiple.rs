//! p-values for many tests against scipy and against the definitions.

use ascribe::statistics::{Pi0, benjamini_hochberg, benjamini_yekutieli, bonferroni, holm, storey};
use serde_json::Value;

fn options(value: &Value) -> Vec<Option<f64>> {
    value.as_array().unwrap().iter().map(Value::as_f64).collect()
}

#[track_caller]
fn same(name: &str, ours: &[Option<f64>], theirs: &Value) {
    let theirs = options(theirs);
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (at, pair) in ours.iter().zip(&theirs).enumerate() {
        match pair {
            (Some(ours), Some(theirs)) => {
                assert!((ours - theirs).abs() <= 1e-12 * theirs, "{name} {at}: {ours} against {theirs}")
            }
            (ours, theirs) => assert_eq!(ours, theirs, "{name} {at}"),
        }
    }
}

#[test]
fn adjusted_p_values_are_scipys_and_those_of_the_definitions() {
    let golden: Value = serde_json::from_str(include_str!("golden/statistics.json")).unwrap();
    let cases = golden["many"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let (name, p) = (case["name"].as_str().unwrap(), options(&case["p"]));
        same(&format!("{name}, Benjamini-Hochberg"), &benjamini_hochberg(&p), &case["bh"]);
        same(&format!("{name}, Benjamini-Yekutieli"), &benjamini_yekutieli(&p), &case["by"]);
        same(&format!("{name}, Bonferroni"), &bonferroni(&p), &case["bonferroni"]);
        same(&format!("{name}, Holm"), &holm(&p), &case["holm"]);
        for (which, from) in [("storey", Pi0::Beyond(0.5)), ("bootstrap", Pi0::Bootstrap)] {
            let found = storey(&p, from).unwrap();
            same(&format!("{name}, π₀ {which}"), &[Some(found.pi0)], &serde_json::json!([case[which]["pi0"]]));
            same(&format!("{name}, {which}"), &found.q, &case[which]["q"]);
        }
    }
}

#[test]
fn what_is_no_p_value_is_no_test() {
    let p = [Some(0.02), None, Some(f64::NAN), Some(-0.1), Some(1.5), Some(0.5)];
    for adjust in [benjamini_hochberg, bonferroni, holm] {
        let found = adjust(&p);
        assert_eq!(found[1..5], [None; 4]);
        assert_eq!(found[0], Some(0.04), "two tests are counted");
        assert_eq!(adjust(&[]), []);
        assert_eq!(adjust(&[None, None]), [None, None]);
    }
    assert_eq!(storey(&[], Pi0::Bootstrap), None);
    assert_eq!(storey(&[None], Pi0::default()), None);
    for lambda in [-0.1, 1.0, f64::NAN] {
        assert_eq!(storey(&p, Pi0::Beyond(lambda)), None);
    }
    assert!(storey(&p, Pi0::Beyond(0.0)).is_some());
}

/// 4,000 families of 50 tests, 10 of which have something to find: the share of false discoveries stays below what was asked for, and
/// Storey's comes closer to it.
#[test]
fn false_discoveries_are_as_rare_as_promised() {
    let (mut state, families, m, real) = (5u64, 4_000, 50, 10);
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut shares = [0.0; 2];
    let mut any = 0;
    for _ in 0..families {
        let p: Vec<Option<f64>> = (0..m).map(|at| Some(if at < real { uniform() * 1e-3 } else { uniform() })).collect();
        let share = |q: &[Option<f64>]| {
            let found: Vec<usize> = (0..m).filter(|&at| q[at].is_some_and(|q| q <= 0.2)).collect();
            found.iter().filter(|&&at| at >= real).count() as f64 / found.len().max(1) as f64
        };
        shares[0] += share(&benjamini_hochberg(&p)) / f64::from(families);
        shares[1] += share(&storey(&p, Pi0::default()).unwrap().q) / f64::from(families);
        any += usize::from(holm(&p)[real..].iter().any(|p| p.is_some_and(|p| p <= 0.2)));
    }
    // Benjamini and Hochberg's expected share is exactly 0.2 · 40 / 50 for independent tests.
    assert!((shares[0] - 0.16).abs() < 0.005, "{shares:?}");
    assert!(shares[1] > shares[0] + 0.01 && shares[1] < 0.205, "{shares:?}");
    assert!((any as f64) < 0.2 * f64::from(families), "{any}");
}
