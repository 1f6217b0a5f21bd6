//! Statistics against scipy (`golden/statistics.py`) and by hand.

use ascribe::statistics::{Coefficient, bootstrap_mean, kendall, mean_spearman, pearson, ranks, spearman};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn same(name: &str, ours: Option<f64>, theirs: &Value) {
    match (ours, theirs.as_f64()) {
        (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} against {theirs}"),
        (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
    }
}

#[test]
fn correlations_are_scipys() {
    let golden: Value = serde_json::from_str(include_str!("golden/statistics.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let (name, x, y) = (case["name"].as_str().unwrap(), numbers(&case["x"]), numbers(&case["y"]));
        assert_eq!(ranks(&x), numbers(&case["ranks_x"]), "{name}");
        assert_eq!(ranks(&y), numbers(&case["ranks_y"]), "{name}");
        for (which, found) in [("pearson", pearson(&x, &y)), ("spearman", spearman(&x, &y))] {
            same(&format!("{name}, {which}"), found.map(|f| f.value), &case[which]);
            let ends = &case[format!("{which}_interval")];
            same(&format!("{name}, {which} low"), found.and_then(|f| f.interval).map(|i| i.0), &ends[0]);
            same(&format!("{name}, {which} high"), found.and_then(|f| f.interval).map(|i| i.1), &ends[1]);
        }
        same(&format!("{name}, kendall"), kendall(&x, &y), &case["kendall"]);
        for (at, which) in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall].into_iter().enumerate() {
            let (name, found) = (format!("{name}, {}", which.name()), which.of(&x, &y));
            assert_eq!(found.map(|f| f.n), found.map(|_| x.len()), "{name}");
            match (found.and_then(|f| f.p), case["p"][at].as_f64()) {
                (Some(ours), Some(theirs)) => {
                    assert!((ours - theirs).abs() < 1e-9 * theirs + 1e-30, "{name}, p: {ours} against {theirs}")
                }
                (ours, theirs) => assert_eq!(ours, theirs, "{name}, p"),
            }
        }
    }
}

#[test]
fn what_has_no_correlation() {
    for correlation in [pearson, spearman] {
        assert_eq!(correlation(&[], &[]), None);
        assert_eq!(correlation(&[1.0], &[2.0]), None);
        assert_eq!(correlation(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(correlation(&[1.0, f64::NAN, 2.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(correlation(&[1.0, f64::INFINITY, 2.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(correlation(&[0.0; 3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(correlation(&[0.1; 10], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]), None, "rounding is no spread");
    }
    // Squares of these would overflow or vanish.
    for scale in [1e200, 1e-200] {
        let x: Vec<f64> = [1.0, 2.0, 4.0, 3.0].iter().map(|v| v * scale).collect();
        assert!((pearson(&x, &[1.0, 2.0, 4.0, 3.0]).unwrap().value - 1.0).abs() < 1e-12);
    }
    assert_eq!(ranks(&[f64::NAN, 0.0, -0.0]), [3.0, 1.5, 1.5]);
}

/// Numbers near to normally distributed.
fn normals(mut state: u64) -> impl FnMut() -> f64 {
    move || {
        let sum: f64 = (0..12).map(|_| uniform(&mut state)).sum();
        sum - 6.0
    }
}

fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

/// Fisher's and Bonett and Wright's intervals hold the truth about as often as they say.
#[test]
fn intervals_cover() {
    let (runs, n, truth) = (2_000, 30, 0.6f64);
    let mut normal = normals(7);
    // Spearman's correlation of a bivariate normal distribution.
    let ranked = 6.0 / std::f64::consts::PI * (truth / 2.0).asin();
    let (mut held, mut held_by_ranks) = (0, 0);
    for _ in 0..runs {
        let x: Vec<f64> = (0..n).map(|_| normal()).collect();
        let y: Vec<f64> = x.iter().map(|x| truth * x + (1.0 - truth * truth).sqrt() * normal()).collect();
        let holds = |interval: Option<(f64, f64)>, truth: f64| interval.is_some_and(|(low, high)| low < truth && truth < high);
        held += usize::from(holds(pearson(&x, &y).unwrap().interval, truth));
        held_by_ranks += usize::from(holds(spearman(&x, &y).unwrap().interval, ranked));
    }
    for held in [held, held_by_ranks] {
        assert!((0.93..0.97).contains(&(held as f64 / runs as f64)), "{held} of {runs}");
    }
}

#[test]
fn a_bootstrap_is_a_function_of_its_seed() {
    let items = [0.1, 0.4, 0.2, 0.9, 0.5];
    assert_eq!(bootstrap_mean(&items, 500, 3), bootstrap_mean(&items, 500, 3));
    assert_ne!(bootstrap_mean(&items, 500, 3), bootstrap_mean(&items, 500, 4));
    assert_eq!(bootstrap_mean(&[], 500, 3), None);
    assert_eq!(bootstrap_mean(&items, 0, 3), None);
    assert_eq!(bootstrap_mean(&[1.0, f64::NAN], 500, 3), None);
    let one = bootstrap_mean(&[2.0], 500, 3).unwrap();
    assert_eq!((one.mean, one.low, one.high, one.n), (2.0, 2.0, 2.0, 1));
}

/// By scipy 1.17: `2 * t.sf(|r| √((n − 2) / (1 − r²)), n − 2)`.
#[test]
fn p_values_of_correlations_are_scipys() {
    let cases = [
        (0.5, 10, 0.141_113_281_25),
        (0.9, 5, 0.037_386_073_468_498_62),
        (-0.3, 50, 0.034_286_180_032_929_97),
        (0.05, 1000, 0.114_072_595_551_072_96),
        (0.999, 7, 6.070_453_581_893_137e-8),
        (0.2, 3, 0.871_811_566_302_05),
    ];
    for (r, n, expected) in cases {
        let found = ascribe::statistics::p_of_correlation(r, n).unwrap();
        assert!((found - expected).abs() < 1e-11 * expected.max(1e-3), "{r} of {n}: {found} against {expected}");
    }
    assert_eq!(ascribe::statistics::p_of_correlation(1.0, 5), Some(0.0));
    assert_eq!(ascribe::statistics::p_of_correlation(0.0, 5), Some(1.0));
    assert_eq!(ascribe::statistics::p_of_correlation(0.5, 2), None);
    assert_eq!(ascribe::statistics::p_of_correlation(f64::NAN, 5), None);
}

/// Five rows that share 20 columns: the jackknife's interval holds the truth as often as it says and errs on both sides, where the percentile
/// bootstrap lies too low.
#[test]
fn intervals_of_mean_rank_correlations_cover() {
    let (runs, columns, truth, resamples) = (400, 20, 0.9f64, 100);
    let ranked = 6.0 / std::f64::consts::PI * (truth / 2.0).asin();
    let (mut normal, mut state) = (normals(11), 5u64);
    let (mut above, mut below, mut low_bootstraps) = (0, 0, 0);
    for run in 0..runs {
        // Columns have something in common, as subsets have.
        let common: Vec<(f64, f64)> = (0..columns).map(|_| (normal(), normal())).collect();
        let mut rows = |shared: &dyn Fn(&(f64, f64)) -> f64| -> Vec<Vec<f64>> {
            (0..5).map(|_| common.iter().map(|c| 0.3f64.sqrt() * shared(c) + 0.7f64.sqrt() * normal()).collect()).collect()
        };
        let (x, noise) = (rows(&|c| c.0), rows(&|c| c.1));
        let mixed = |(a, b): (&f64, &f64)| truth * a + (1.0 - truth * truth).sqrt() * b;
        let y: Vec<Vec<f64>> = x.iter().zip(&noise).map(|(x, e)| x.iter().zip(e).map(mixed).collect()).collect();
        let found = mean_spearman(&x, &y).unwrap();
        above += usize::from(found.low > ranked);
        below += usize::from(found.high < ranked);
        if run < 150 {
            let mut means: Vec<f64> = (0..resamples)
                .map(|_| {
                    let chosen: Vec<usize> = (0..columns).map(|_| (uniform(&mut state) * columns as f64) as usize).collect();
                    let some = |row: &[f64]| chosen.iter().map(|&at| row[at]).collect::<Vec<_>>();
                    x.iter().zip(&y).map(|(a, b)| spearman(&some(a), &some(b)).unwrap().value).sum::<f64>() / 5.0
                })
                .collect();
            means.sort_by(f64::total_cmp);
            low_bootstraps += usize::from(means[resamples * 975 / 1000] < ranked);
        }
    }
    let held = 1.0 - (above + below) as f64 / runs as f64;
    assert!((0.92..0.98).contains(&held), "{above} above, {below} below of {runs}");
    assert!(above >= runs / 200 && below >= runs / 200, "{above} above, {below} below of {runs}");
    // 2.5 % of 150 would be 4.
    assert!(low_bootstraps > 15, "{low_bootstraps} of 150 percentile intervals lie below the truth");
}

#[test]
fn mean_rank_correlations_leave_out_what_is_not_defined() {
    let rows = vec![vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![7.0; 5]];
    let other = vec![vec![1.0, 3.0, 2.0, 2.0, 5.0], vec![1.0, 2.0, 3.0, 4.0, 5.0]];
    let found = mean_spearman(&rows, &other).unwrap();
    assert_eq!((found.n, Some(found.mean)), (1, spearman(&rows[0], &other[0]).map(|c| c.value)));
    let perfect = mean_spearman(&rows[..1], &rows[..1]).unwrap();
    assert!(perfect.mean > 1.0 - 1e-12 && perfect.low > 1.0 - 1e-9 && perfect.high <= 1.0);
    // Without one column a side is constant: nothing is left of the correlation, and the interval says so.
    let single = mean_spearman(&[vec![0.0, 0.0, 0.0, 1.0]], &[vec![0.0, 0.0, 1.0, 2.0]]).unwrap();
    assert!(single.low < 0.0, "{single:?}");
    assert_eq!(mean_spearman(&rows[1..], &other[1..]), None);
    assert_eq!(mean_spearman(&[vec![1.0, 2.0]], &[vec![1.0, 2.0]]), None);
    assert_eq!(mean_spearman(&rows, &other[..1]), None);
    assert_eq!(mean_spearman(&[], &[]), None);
}
