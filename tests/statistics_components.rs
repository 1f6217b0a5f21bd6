//! Components of variance against scipy, against products of all pairs of values, and in simulated designs.

use ascribe::statistics::{crossed, crossed_pairs, one_way, one_way_pairs, variance_components};
use serde_json::Value;

#[track_caller]
fn close(name: &str, ours: f64, theirs: f64, bound: f64) {
    assert!((ours - theirs).abs() <= bound * theirs.abs(), "{name}: {ours} against {theirs}");
}

#[test]
fn one_way_is_scipys() {
    let golden: Value = serde_json::from_str(include_str!("golden/statistics.json")).unwrap();
    let cases = golden["one_way"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let (name, rows) = (case["name"].as_str().unwrap(), case["rows"].as_array().unwrap());
        let values: Vec<f64> = rows.iter().flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap())).collect();
        let found = one_way(&values, rows.len()).unwrap();
        assert_eq!((found.groups, found.each), (rows.len(), values.len() / rows.len()));
        let bound = if name == "offset" { 1e-7 } else { 1e-10 };
        let ours = [found.between, found.within, found.icc, found.interval.0, found.interval.1, found.p];
        let theirs = [&case["between"], &case["within"], &case["icc"], &case["interval"][0], &case["interval"][1], &case["p"]];
        ours.into_iter().zip(theirs).for_each(|(ours, theirs)| close(name, ours, theirs.as_f64().unwrap(), bound));
    }
}

#[test]
fn what_has_no_components() {
    for (values, groups) in [
        (&[1.0, 2.0, 3.0][..], 2),
        (&[1.0, 2.0], 2),
        (&[1.0, 2.0], 1),
        (&[1.0; 4], 2),
        (&[], 2),
        (&[1.0, f64::NAN, 2.0, 3.0], 2),
        (&[1.0, 2.0], 0),
    ] {
        assert_eq!(one_way(values, groups), None, "{values:?} {groups}");
    }
    let apart = one_way(&[1.0, 1.0, 2.0, 2.0], 2).unwrap();
    assert_eq!((apart.icc, apart.interval, apart.p), (1.0, (1.0, 1.0), 0.0));
    assert_eq!(crossed(&[1.0, 2.0, 3.0], &[2, 2]), None);
    assert_eq!(crossed(&[1.0, 2.0, 3.0, f64::INFINITY], &[2, 2]), None);
    let constant = crossed(&[0.1; 9], &[3, 3]).unwrap();
    assert!(constant.iter().all(|component| component.variance == 0.0 && component.interval == (0.0, 0.0)), "{constant:?}");
    for scale in [1e150, 1e-150] {
        let found = crossed(&[1.0, 11.0, 3.0, 13.0].map(|x| x * scale), &[2, 2]).unwrap();
        close("scaled", found[0].variance, 2.0 * scale * scale, 1e-12);
    }
}

struct Draw(u64);

impl Draw {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The level of each factor of a value.
fn level(levels: &[usize], repeats: usize, at: usize) -> Vec<usize> {
    let mut rest = at / repeats;
    let mut found: Vec<usize> = levels.iter().rev().map(|n| (rest % n, rest /= n).0).collect();
    found.reverse();
    found
}

/// A balanced design with the given variance of each set of factors, by its bits; of the residual at 0.
fn simulated(draw: &mut Draw, levels: &[usize], repeats: usize, variances: &[f64]) -> Vec<f64> {
    let n = levels.iter().product::<usize>() * repeats;
    let mut values: Vec<f64> = (0..n).map(|_| variances[0].sqrt() * draw.normal()).collect();
    for (set, variance) in variances.iter().enumerate().skip(1) {
        let effects: Vec<f64> = (0..n).map(|_| variance.sqrt() * draw.normal()).collect();
        for (at, value) in values.iter_mut().enumerate() {
            let own = level(levels, repeats, at);
            let cell = (0..levels.len())
                .filter(|factor| set >> factor & 1 == 1)
                .fold(0, |cell, factor| cell * levels[factor] + own[factor]);
            *value += effects[cell];
        }
    }
    values
}

fn bits(factors: &[usize]) -> usize {
    factors.iter().map(|factor| 1 << factor).sum()
}

/// The mean product of two different values that agree on exactly some factors is the squared mean plus the variances of all sets of these:
/// in a balanced design the analysis of variance gives what follows from that.
#[test]
fn crossed_components_are_those_of_products_of_pairs() {
    let mut draw = Draw(3);
    for (levels, repeats) in
        [(vec![3, 4], 1), (vec![3, 2], 3), (vec![3, 2, 4], 1), (vec![2, 3, 2], 2), (vec![4], 3), (vec![2, 2, 3, 2], 1)]
    {
        let variances: Vec<f64> = (0..1 << levels.len()).map(|set| 0.5 + set as f64).collect();
        let values = simulated(&mut draw, &levels, repeats, &variances);
        let sets = 1usize << levels.len();
        let (mut sums, mut counts) = (vec![0.0; sets], vec![0.0; sets]);
        for (a, x) in values.iter().enumerate() {
            for (b, y) in values.iter().enumerate().filter(|(b, _)| *b != a) {
                let (at, other) = (level(&levels, repeats, a), level(&levels, repeats, b));
                let same: usize = (0..levels.len()).filter(|&factor| at[factor] == other[factor]).map(|factor| 1 << factor).sum();
                sums[same] += x * y;
                counts[same] += 1.0;
            }
        }
        let squares = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
        let products = |set: usize| if set == sets - 1 && repeats == 1 { squares } else { sums[set] / counts[set] };
        for component in crossed(&values, &levels).unwrap() {
            let set = bits(&component.factors);
            let sign = |other: usize| if (set ^ other).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            let expected: f64 = match set {
                0 => squares - products(sets - 1),
                _ => (0..sets).filter(|other| other & set == *other).map(|other| sign(other) * products(other)).sum(),
            };
            assert!(
                (component.variance - expected).abs() < 1e-9,
                "{levels:?} × {repeats}, {set:b}: {} against {expected}",
                component.variance
            );
        }
    }
}

/// The 95 % intervals hold the truth about as often as they say: with few levels and many, with components that dominate and that are 0.
#[test]
fn intervals_of_components_cover() {
    let designs: [(&[usize], usize, &[f64]); 4] = [
        (&[3, 3, 3], 1, &[1.0, 4.0, 1.0, 0.25, 0.25, 0.0, 0.1, 0.0]),
        (&[5, 5], 3, &[1.0, 4.0, 0.04, 0.5]),
        (&[10, 5], 1, &[1.0, 0.25, 0.0, 0.0]),
        (&[10], 5, &[1.0, 1.0]),
    ];
    let (mut draw, runs) = (Draw(9), 1_000);
    for (levels, repeats, variances) in designs {
        let all = variances.len() - 1;
        let mut held = vec![0; variances.len()];
        for _ in 0..runs {
            for component in crossed(&simulated(&mut draw, levels, repeats, variances), levels).unwrap() {
                let set = bits(&component.factors);
                let truth = variances[set] + if repeats == 1 && set == all { variances[0] } else { 0.0 };
                held[set] += usize::from(component.interval.0 <= truth && truth <= component.interval.1);
            }
        }
        for (set, held) in held.iter().enumerate().filter(|(set, _)| *set > 0 || repeats > 1) {
            assert!((0.925..0.985).contains(&(*held as f64 / runs as f64)), "{levels:?} × {repeats}, {set:b}: {held} of {runs}");
        }
    }
}

fn columns(values: &[Vec<f64>]) -> Vec<Vec<f32>> {
    (0..values[0].len()).map(|at| values.iter().map(|pair| pair[at] as f32).collect()).collect()
}

#[test]
fn many_pairs_at_once_are_each_alone() -> ascribe::Result<()> {
    let mut draw = Draw(5);
    let pairs: Vec<Vec<f64>> = (0..301).map(|_| simulated(&mut draw, &[3, 2], 2, &[1.0, 2.0, 3.0, 1.0])).collect();
    let mut draws = columns(&pairs);
    draws[4][7] = f32::NAN;
    let slices: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
    let mut found = vec![vec![9.0f32; 301]; 4];
    crossed_pairs(&slices, &[3, 2], &mut found.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
    for pair in 0..301 {
        let own: Vec<f64> = draws.iter().map(|draw| f64::from(draw[pair])).collect();
        match crossed(&own, &[3, 2]) {
            Some(alone) => alone.iter().zip(&found).for_each(|(component, found)| {
                assert!((component.variance - f64::from(found[pair])).abs() < 1e-5 * component.variance.abs().max(0.1), "{pair}");
            }),
            None => assert!(pair == 7 && found.iter().all(|component| component[pair].is_nan())),
        }
    }
    let (mut between, mut within) = (vec![0.0; 301], vec![0.0; 301]);
    one_way_pairs(&slices, 3, &mut between, &mut within)?;
    let alone = one_way(&draws.iter().map(|draw| f64::from(draw[0])).collect::<Vec<_>>(), 3).unwrap();
    assert!((alone.between - f64::from(between[0])).abs() < 1e-5 && (alone.within - f64::from(within[0])).abs() < 1e-5);
    let message = |result: ascribe::Result<()>| result.expect_err("an error").to_string();
    assert!(message(one_way_pairs(&slices, 5, &mut between, &mut within)).contains("[5] levels equally often"));
    assert!(message(one_way_pairs(&slices, 3, &mut between, &mut [0.0])).contains("301 pairs each, got 1"));
    assert!(message(crossed_pairs(&slices, &[3, 2], &mut [&mut between])).contains("4 slices, got 1"));
    Ok(())
}

#[test]
fn pooled_components_are_sums_over_pairs_with_wide_enough_intervals() -> ascribe::Result<()> {
    let mut draw = Draw(7);
    let variances = [1.0, 4.0, 1.0, 1.0];
    // Pairs mix a few scores of the same networks, so that they share levels.
    let loads: Vec<Vec<f64>> = (0..40).map(|_| (0..6).map(|_| draw.normal()).collect()).collect();
    let mut held = [0; 3];
    for run in 0..100 {
        let fields: Vec<Vec<f64>> = (0..6).map(|_| simulated(&mut draw, &[5, 4], 1, &variances)).collect();
        let pair =
            |loads: &Vec<f64>| (0..20).map(|at| loads.iter().zip(&fields).map(|(load, field)| load * field[at]).sum()).collect();
        let pairs: Vec<Vec<f64>> = loads.iter().map(pair).collect();
        let draws = columns(&pairs);
        let slices: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
        let table = variance_components(&[("init", 5), ("order", 4)], &slices)?;
        let number = |name: &str, row: usize| table.column(name).unwrap().f64().unwrap().get(row).unwrap();
        if run == 0 {
            let names: Vec<_> = table.column("component")?.str()?.iter().flatten().collect();
            assert_eq!(names, ["init", "order", "init × order + residual"]);
            let alone: Vec<f64> = pairs.iter().map(|pair| crossed(pair, &[5, 4]).unwrap()[0].variance).collect();
            close("mean", number("variance", 0), alone.iter().sum::<f64>() / 40.0, 1e-5);
        }
        for (row, truth) in [4.0 / 7.0, 1.0 / 7.0, 2.0 / 7.0].into_iter().enumerate() {
            held[row] += usize::from(number("low", row) <= truth && truth <= number("high", row));
        }
    }
    assert!(held.iter().all(|&held| held >= 93), "{held:?}");
    let two = variance_components(&[("run", 2)], &[&[1.0, 0.0], &[2.0, 1.0], &[3.0, 1.0], &[4.0, 3.0]])?;
    assert_eq!(two.column("low")?.null_count(), 2, "two levels have no jackknife");
    assert!(variance_components(&[("run", 2)], &[&[f32::NAN], &[1.0], &[2.0], &[3.0]]).is_err());
    assert!(variance_components(&[("run", 3)], &[&[1.0], &[1.0]]).is_err());
    Ok(())
}
