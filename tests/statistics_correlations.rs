//! Correlation matrices, partial correlations, correlations within groups and permutation tests.

use ascribe::statistics::{
    Coefficient, Correlations, Missing, correlation_matrix, partial_pearson, partial_spearman, pearson, permutation_test,
    spearman, within_groups,
};
use ascribe::{Error, Result, default};
use serde_json::Value;

const ALL: [Coefficient; 3] = [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall];

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
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

    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

#[test]
fn partial_correlations_are_those_of_the_inverse() {
    let golden: Value = serde_json::from_str(include_str!("golden/statistics.json")).unwrap();
    let cases = golden["partial"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let number = |value: &Value| value.as_f64().unwrap();
        let columns: Vec<Vec<f64>> = case["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column.as_array().unwrap().iter().map(number).collect())
            .collect();
        let given: Vec<&[f64]> = columns[2..].iter().map(Vec::as_slice).collect();
        let found = [partial_pearson(&columns[0], &columns[1], &given), partial_spearman(&columns[0], &columns[1], &given)];
        for (found, which) in found.into_iter().zip(["pearson", "spearman"]) {
            let (found, expected) = (found.unwrap(), &case[which]);
            assert!((found.value - number(&expected[0])).abs() < 1e-12, "{which}: {found:?} {expected}");
            assert!((found.p.unwrap() - number(&expected[1])).abs() < 1e-9, "{which}: {found:?} {expected}");
        }
        // A given column twice, or a constant one, takes nothing more out and costs no degree of freedom.
        let ones = vec![1.0; columns[0].len()];
        let again: Vec<&[f64]> = given.iter().copied().chain([given[0], &ones]).collect();
        let (once, twice) = (found[0].unwrap(), partial_pearson(&columns[0], &columns[1], &again).unwrap());
        assert!((once.value - twice.value).abs() < 1e-12 && (once.p.unwrap() - twice.p.unwrap()).abs() < 1e-12);
    }
}

#[test]
fn what_has_no_partial_correlation() {
    let (x, y) = ([1.0, 2.0, 4.0, 3.0], [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(partial_pearson(&x, &y, &[]), pearson(&x, &y));
    assert_eq!(partial_spearman(&x, &y, &[]), spearman(&x, &y));
    assert_eq!(partial_pearson(&x, &y, &[&x]), None, "x explains itself");
    assert_eq!(partial_pearson(&x, &y, &[&[1.0, 2.0]]), None);
    assert_eq!(partial_pearson(&x, &y, &[&[1.0, f64::NAN, 0.0, 2.0]]), None);
    assert_eq!(partial_spearman(&x, &y, &[&[1.0, f64::NAN, 0.0, 2.0]]), None);
    assert_eq!(partial_pearson(&[], &[], &[]), None);
    let huge: Vec<f64> = x.iter().map(|x| x * 1e200).collect();
    let given = [0.0, 1.0, 0.0, 2.0];
    let (plain, scaled) = (partial_pearson(&x, &y, &[&given]).unwrap(), partial_pearson(&huge, &y, &[&given]).unwrap());
    assert!((plain.value - scaled.value).abs() < 1e-12);
}

#[test]
fn a_matrix_is_its_pairs() -> Result<()> {
    let mut draw = Draw(3);
    let (mut a, mut b, c) = (draw.normals(50), draw.normals(50), draw.normals(50));
    b.iter_mut().zip(&a).for_each(|(b, a)| *b += a);
    let options = Correlations { coefficients: ALL.to_vec(), ..default() };
    let table = correlation_matrix(&[("a", &a), ("b", &b), ("c", &c)], &options)?;
    assert_eq!(table.get_column_names(), ["a", "b", "coefficient", "value", "low", "high", "p", "n", "method"]);
    assert_eq!(table.height(), 9);
    let number = |name: &str, row: usize| table.column(name).unwrap().f64().unwrap().get(row);
    for (at, which) in ALL.into_iter().enumerate() {
        for (row, (x, y)) in [(&a, &b), (&a, &c), (&b, &c)].into_iter().enumerate() {
            let (row, found) = (3 * at + row, which.of(x, y).unwrap());
            let near = |ours: Option<f64>, theirs: Option<f64>| ours.zip(theirs).is_some_and(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near(number("value", row), Some(found.value)), "{which:?}");
            assert!(
                near(number("low", row), found.interval.map(|i| i.0)) && near(number("high", row), found.interval.map(|i| i.1))
            );
            assert!(near(number("p", row), found.p));
            assert_eq!(table.column("coefficient")?.str()?.get(row), Some(which.name()));
        }
    }
    // Gaps: refused by name, or left out of those pairs alone.
    a[7] = f64::NAN;
    let columns: [(&str, &[f64]); 3] = [("a", &a), ("b", &b), ("c", &c)];
    assert_eq!(
        message(correlation_matrix(&columns, &options)),
        "data column a: expected finite numbers, got NaN in row 7; Missing::Omit leaves such rows out"
    );
    let table = correlation_matrix(&columns, &Correlations { missing: Missing::Omit, ..options })?;
    let n: Vec<u32> = table.column("n")?.u32()?.iter().flatten().collect();
    assert_eq!(n, [49, 49, 50, 49, 49, 50, 49, 49, 50]);
    let without = |values: &[f64]| values.iter().enumerate().filter(|(at, _)| *at != 7).map(|(_, v)| *v).collect::<Vec<_>>();
    let expected = spearman(&without(&a), &without(&b)).unwrap();
    assert_eq!(table.column("value")?.f64()?.get(3), Some(expected.value));
    // A constant has no correlation.
    let table = correlation_matrix(&[("a", &b), ("constant", &[1.0; 50])], &Correlations { resamples: 10, ..default() })?;
    assert_eq!(["value", "low", "high", "p"].map(|name| table.column(name).unwrap().null_count()), [2; 4]);
    Ok(())
}

#[test]
fn a_matrix_refuses_what_does_not_fit() {
    let (a, b) = ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]);
    let of = |columns: &[(&str, &[f64])], options: Correlations| message(correlation_matrix(columns, &options));
    assert!(of(&[("a", &a)], default()).contains("at least 2, got 1"));
    assert!(of(&[("a", &a), ("a", &b)], default()).contains("a name of its own"));
    assert!(of(&[("a", &a), ("b", &b[..2])], default()).contains("column b: expected 3 rows, as a, got 2"));
    assert!(of(&[("a", &a), ("b", &b)], Correlations { coefficients: vec![], ..default() }).contains("at least one"));
    assert!(
        of(&[("a", &a), ("b", &b)], Correlations { groups: Some(vec![0; 3]), ..default() }).contains("Correlations.resamples")
    );
    let groups = Correlations { groups: Some(vec![0; 2]), resamples: 9, ..default() };
    assert!(matches!(correlation_matrix(&[("a", &a), ("b", &b)], &groups), Err(Error::Shape { .. })));
}

/// Rows of one group share a part: a formula takes them for independent, whole groups drawn together do not. Both hold where rows are.
#[test]
fn drawing_whole_groups_covers_where_a_formula_does_not() -> Result<()> {
    let (mut draw, runs, groups, each, truth) = (Draw(17), 300, 40, 10, 0.5f64);
    let labels: Vec<usize> = (0..groups * each).map(|at| at / each).collect();
    let mut held = [0; 4];
    let mut small = [0; 2];
    for run in 0..runs {
        let mut correlated = |shared: f64, truth: f64| -> (Vec<f64>, Vec<f64>) {
            let common: Vec<[f64; 2]> = (0..groups).map(|_| [draw.normal(), draw.normal()]).collect();
            let mix = |[a, b]: [f64; 2]| [a, truth * a + (1.0 - truth * truth).sqrt() * b];
            let own = |at: usize| {
                let (common, own) = (mix(common[at]), mix([draw.normal(), draw.normal()]));
                [0, 1].map(|side| shared.sqrt() * common[side] + (1.0 - shared).sqrt() * own[side])
            };
            labels.iter().copied().map(own).map(|[x, y]| (x, y)).unzip()
        };
        let (x, y) = correlated(0.6, truth);
        let (u, v) = correlated(0.6, 0.0);
        let options = Correlations { resamples: 200, seed: run, groups: Some(labels.clone()), ..default() };
        let grouped = correlation_matrix(&[("x", &x), ("y", &y)], &options)?;
        let ranked = 6.0 / std::f64::consts::PI * (truth / 2.0).asin();
        for (row, truth) in [truth, ranked].into_iter().enumerate() {
            let number = |name: &str| grouped.column(name).unwrap().f64().unwrap().get(row).unwrap();
            held[row] += usize::from(number("low") <= truth && truth <= number("high"));
        }
        let plain = pearson(&x, &y).unwrap();
        held[2] += usize::from(plain.interval.is_some_and(|(low, high)| low <= truth && truth <= high));
        let none = correlation_matrix(&[("u", &u), ("v", &v)], &options)?;
        small[0] += usize::from(none.column("p")?.f64()?.get(0) <= Some(0.05));
        small[1] += usize::from(pearson(&u, &v).unwrap().p <= Some(0.05));
    }
    let share = |held: usize| held as f64 / runs as f64;
    assert!(share(held[0]) > 0.89 && share(held[1]) > 0.89, "{held:?}");
    assert!(share(held[2]) < 0.75, "the formula: {held:?}");
    assert!((0.02..0.10).contains(&share(small[0])) && share(small[1]) > 0.25, "{small:?}");
    Ok(())
}

#[test]
fn bootstraps_are_functions_of_their_seed() -> Result<()> {
    let mut draw = Draw(5);
    let (a, b) = (draw.normals(30), draw.normals(30));
    let low = |seed: u64| -> Result<Option<f64>> {
        let options = Correlations { coefficients: ALL.to_vec(), resamples: 50, seed, ..default() };
        Ok(correlation_matrix(&[("a", &a), ("b", &b)], &options)?.column("low")?.f64()?.get(1))
    };
    assert_eq!(low(1)?, low(1)?);
    assert_ne!(low(1)?, low(2)?);
    Ok(())
}

#[test]
fn within_groups_is_the_mean_of_transformed_correlations() {
    let mut draw = Draw(9);
    let (x, y) = (draw.normals(60), draw.normals(60));
    let groups: Vec<usize> = (0..60).map(|at| at / 20).collect();
    for which in ALL {
        let z: Vec<f64> =
            (0..3).map(|g| which.of(&x[g * 20..g * 20 + 20], &y[g * 20..g * 20 + 20]).unwrap().value.atanh()).collect();
        let mean = z.iter().sum::<f64>() / 3.0;
        let error = (z.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / 2.0 / 3.0).sqrt();
        let found = within_groups(&x, &y, &groups, which).unwrap();
        assert!((found.mean - mean.tanh()).abs() < 1e-12 && found.n == 3);
        assert!((found.high - (mean + 4.302_652_729_911_275 * error).tanh()).abs() < 1e-9, "{found:?}");
    }
    // Too small, constant, and nothing at all.
    let one = within_groups(&x[..23], &y[..23], &groups[..23], Coefficient::Pearson).unwrap();
    assert_eq!((one.n, one.low, one.high), (1, -1.0, 1.0));
    assert_eq!(within_groups(&[1.0; 60], &y, &groups, Coefficient::Pearson), None);
    assert_eq!(within_groups(&x, &y, &groups[..5], Coefficient::Pearson), None);
    assert_eq!(within_groups(&[], &[], &[], Coefficient::Pearson), None);
    let same = within_groups(&x, &x, &groups, Coefficient::Spearman).unwrap();
    assert!(same.mean > 0.999_999 && same.high <= 1.0);
}

/// p-values of pairs that have nothing to do with each other are uniform, within groups even where the groups' means go together.
#[test]
fn permutation_tests_hold_their_level() {
    let mut draw = Draw(21);
    let runs = 400;
    let groups: Vec<usize> = (0..24).map(|at| at / 6).collect();
    let mut small = [[0; 2]; 3];
    for run in 0..runs {
        let centres = draw.normals(4);
        let shifted =
            |draw: &mut Draw| -> Vec<f64> { groups.iter().map(|&group| 3.0 * centres[group] + draw.normal()).collect() };
        let (x, y) = (shifted(&mut draw), shifted(&mut draw));
        for (at, which) in ALL.into_iter().enumerate() {
            let p = |groups: Option<&[usize]>| permutation_test(&x, &y, groups, which, 99, run).unwrap().p;
            small[at][0] += usize::from(p(Some(&groups)) <= 0.1);
            small[at][1] += usize::from(p(None) <= 0.1);
        }
    }
    for [within, over] in small {
        assert!((0.06..0.14).contains(&(within as f64 / runs as f64)), "{small:?}");
        assert!(over as f64 / runs as f64 > 0.6, "the groups do go together: {small:?}");
    }
}

#[test]
fn a_permutation_test_is_near_the_count_of_all() {
    let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 7.0], [2.0, 1.0, 3.0, 5.0, 4.0, 9.0]);
    // Brute force over all 720 orders.
    let mut orders = vec![vec![]];
    for at in 0..6 {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=at).map(|place| [&order[..place], &[at], &order[place..]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    for which in ALL {
        let value = |order: &[usize]| which.of(&x, &order.iter().map(|&at| y[at]).collect::<Vec<_>>()).unwrap().value.abs();
        let observed = value(&[0, 1, 2, 3, 4, 5]) - 1e-9;
        let exact = orders.iter().filter(|order| value(order) >= observed).count() as f64 / 720.0;
        let found = permutation_test(&x, &y, None, which, 40_000, 0).unwrap();
        assert!((found.p - exact).abs() < 4.0 * (exact / 40_000.0).sqrt(), "{which:?}: {found:?} {exact}");
    }
    assert_eq!(permutation_test(&x, &y, None, Coefficient::Pearson, 0, 0), None);
    assert_eq!(permutation_test(&x, &[1.0; 6], None, Coefficient::Pearson, 9, 0), None);
    assert_eq!(permutation_test(&x, &y, Some(&[0, 1, 2, 3, 4, 5]), Coefficient::Pearson, 9, 0), None);
    assert_eq!(permutation_test(&x, &[f64::NAN; 6], None, Coefficient::Kendall, 9, 0), None);
    let huge: Vec<f64> = x.iter().map(|x| x * 1e200).collect();
    assert!(permutation_test(&huge, &huge, None, Coefficient::Pearson, 999, 0).unwrap().p < 0.01);
}
