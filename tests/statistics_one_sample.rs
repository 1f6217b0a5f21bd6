//! Tests of one sample against scipy, by hand, and many pairs at once against one pair at a time.

use ascribe::statistics::{
    Test, one_sample, runs_needed, sign_flip_test, sign_test, squared_effect, t_test, t_test_power, z_ratio_p,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/statistics.json")).unwrap()
}

#[track_caller]
fn close(name: &str, ours: Option<f64>, theirs: &Value) {
    match (ours, theirs.as_f64()) {
        (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() <= 1e-12 * theirs.abs(), "{name}: {ours} against {theirs}"),
        (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
    }
}

fn moments(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let equal = draws.iter().all(|&draw| draw == draws[0]);
    (mean, if equal { 0.0 } else { (draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)).sqrt() })
}

#[test]
fn tests_of_one_sample_are_scipys() {
    let golden = golden();
    let cases = golden["one_sample"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let draws: Vec<f64> = case["draws"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect();
        let (mean, std) = moments(&draws);
        let found = t_test(mean, std, draws.len());
        close(&format!("{name}, t"), found.map(|f| f.t), &case["t"]);
        close(&format!("{name}, p"), found.map(|f| f.p), &case["p"]);
        close(&format!("{name}, z"), z_ratio_p(mean, std).filter(|_| draws.len() > 1), &case["z_p"]);
        close(&format!("{name}, signs"), sign_test(&draws).map(|f| f.p), &case["sign_p"]);
        let flipped = sign_flip_test(&draws, 0, 0);
        close(&format!("{name}, flips"), flipped.map(|f| f.p), &case["flip_p"]);
        assert!(flipped.is_none_or(|f| f.exact && f.arrangements == 1 << draws.len()));
    }
}

#[test]
fn what_cannot_be_tested() {
    for (mean, std, n) in [
        (1.0, 0.0, 5),
        (0.0, 0.0, 5),
        (1.0, 1.0, 1),
        (1.0, 1.0, 0),
        (f64::NAN, 1.0, 5),
        (1.0, f64::NAN, 5),
        (f64::INFINITY, 1.0, 5),
        (1.0, f64::INFINITY, 5),
        (1.0, -1.0, 5),
        (1e200, 1e-200, 5),
    ] {
        assert_eq!(t_test(mean, std, n), None, "{mean} {std} {n}");
        assert!(n < 5 || z_ratio_p(mean, std).is_none(), "{mean} {std}");
    }
    assert_eq!(t_test(0.0, 1.0, 2).map(|f| (f.t, f.freedom, f.p)), Some((0.0, 1, 1.0)));
    assert_eq!(sign_test(&[]), None);
    assert_eq!(sign_test(&[0.0, 0.0]), None);
    assert_eq!(sign_test(&[1.0, f64::NAN]), None);
    assert_eq!(sign_flip_test(&[], 10, 0), None);
    assert_eq!(sign_flip_test(&[1.0, f64::INFINITY], 10, 0), None);
    assert_eq!(sign_flip_test(&[1.0; 21], 0, 0), None, "no draws for a test that needs some");
}

/// Beyond what a float can count: 2^-1200 is 0, half of 3,000 coins is not.
#[test]
fn signs_of_many_draws() {
    let draws = |up: usize, down: usize| -> Vec<f64> { [vec![1.0; up], vec![-2.0; down]].concat() };
    assert_eq!(sign_test(&draws(1200, 0)).unwrap().p, 0.0);
    // scipy 1.17: binomtest(1600, 3000).pvalue, binomtest(1500, 3000).pvalue, binomtest(200, 1000).pvalue
    for (up, down, p) in [(1600, 1400, 0.000_278_563_961_039_233_66), (1500, 1500, 1.0), (200, 800, 1.644_998_735_577_471_7e-85)]
    {
        let found = sign_test(&draws(up, down)).unwrap().p;
        assert!((found - p).abs() < 1e-10 * p, "{up} {down}: {found}");
    }
}

#[test]
fn flips_drawn_at_random_are_near_those_counted() {
    let draws: Vec<f64> = (0..20).map(|i| f64::from(i * i % 11) - 3.5).collect();
    let exact = sign_flip_test(&draws, 0, 0).unwrap();
    assert!(exact.exact && (0.01..0.5).contains(&exact.p), "{exact:?}");
    // One number more that is 0 changes no sum, but asks for draws.
    let more = [draws, vec![0.0]].concat();
    let drawn = sign_flip_test(&more, 20_000, 3).unwrap();
    assert!(!drawn.exact && drawn.arrangements == 20_001);
    let spread = (exact.p * (1.0 - exact.p) / 20_000.0).sqrt();
    assert!((drawn.p - exact.p).abs() < 4.0 * spread, "{drawn:?} {exact:?}");
    assert_eq!(sign_flip_test(&more, 500, 3), sign_flip_test(&more, 500, 3));
    assert_ne!(sign_flip_test(&more, 500, 3), sign_flip_test(&more, 500, 4));
    // Never 0: the observed signs are one of the arrangements.
    let one_sided = vec![1.0; 64];
    assert_eq!(sign_flip_test(&one_sided, 99, 0).unwrap().p, 0.01);
}

fn scores(n: usize, pairs: usize) -> Vec<Vec<f32>> {
    let value = |draw: usize, pair: usize| ((draw * 7919 + pair * 104_729) % 10_007) as f32 / 10_007.0 - 0.3;
    (0..n).map(|draw| (0..pairs).map(|pair| value(draw, pair)).collect()).collect()
}

#[test]
fn many_pairs_at_once_are_each_alone() {
    for (n, pairs) in [(10, 5_000), (2, 3), (5, 1_024), (12, 2_049)] {
        let mut scores = scores(n, pairs);
        scores.iter_mut().for_each(|draw| draw[1] = 0.1); // all equal
        scores[1][2] = f32::NAN;
        scores.iter_mut().for_each(|draw| draw[0] *= 1e30);
        let draws: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
        let tests = [Test::T, Test::ZRatio, Test::Sign, Test::SignFlip { resamples: 0, seed: 0 }];
        for test in tests {
            let (mut mean, mut std, mut p) = (vec![9.0; pairs], vec![9.0; pairs], vec![9.0; pairs]);
            one_sample(&draws, test, &mut mean, &mut std, &mut p).unwrap();
            for pair in 0..pairs {
                let own: Vec<f64> = scores.iter().map(|draw| f64::from(draw[pair])).collect();
                let (m, s) = moments(&own);
                let expected = match test {
                    Test::T => t_test(m, s, n).map(|f| f.p),
                    Test::ZRatio => z_ratio_p(m, s),
                    Test::Sign => sign_test(&own).map(|f| f.p),
                    Test::SignFlip { .. } => sign_flip_test(&own, 0, 0).map(|f| f.p),
                };
                let same = |ours: f32, theirs: f64| {
                    (f64::from(ours) - theirs).abs() <= 1e-6 * theirs.abs() || (ours.is_nan() && theirs.is_nan())
                };
                let all = (mean[pair], std[pair], p[pair]);
                assert!(
                    same(all.0, m) && same(all.1, s) && same(all.2, expected.unwrap_or(f64::NAN)),
                    "{test:?} {pair}: {all:?}, {m} {s} {expected:?}"
                );
            }
            assert_eq!((mean[1], std[1]), (0.1, 0.0));
        }
    }
}

#[test]
fn many_pairs_refuse_what_does_not_fit() {
    let (mut a, mut b, mut c) = (vec![0.0; 3], vec![0.0; 3], vec![0.0; 3]);
    let message = |result: ascribe::Result<()>| result.expect_err("an error").to_string();
    assert!(message(one_sample(&[&[1.0; 3]], Test::T, &mut a, &mut b, &mut c)).contains("at least 2"));
    assert!(message(one_sample(&[&[1.0; 3], &[1.0; 2]], Test::T, &mut a, &mut b, &mut c)).contains("3 pairs each, got 2"));
    assert!(message(one_sample(&[&[1.0; 3], &[1.0; 3]], Test::T, &mut a, &mut b, &mut [0.0])).contains("got 1"));
    let many = [[1.0f32; 3]; 21];
    let many: Vec<&[f32]> = many.iter().map(|draw| draw.as_slice()).collect();
    let test = Test::SignFlip { resamples: 0, seed: 0 };
    assert!(message(one_sample(&many, test, &mut a, &mut b, &mut c)).contains("Test::SignFlip.resamples"));
    assert!(one_sample(&[&[], &[]], Test::T, &mut [], &mut [], &mut []).is_ok());
}

#[test]
fn power_is_that_of_the_noncentral_t() {
    let golden = golden();
    let rows = |name: &str| -> Vec<Vec<f64>> {
        let numbers = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        golden[name].as_array().unwrap().iter().map(numbers).collect()
    };
    assert_eq!((rows("power").len(), rows("runs").len()), (48, 16));
    for row in rows("power") {
        let [d, n, alpha, power] = row[..] else { panic!("four numbers") };
        for d in [d, -d] {
            let found = t_test_power(d, n as usize, alpha).unwrap();
            assert!((found - power).abs() < 1e-9, "{row:?}: {found}");
        }
    }
    for row in rows("runs") {
        let [d, alpha, power, n] = row[..] else { panic!("four numbers") };
        assert_eq!(runs_needed(d, alpha, power), Some(n as usize), "{row:?}");
    }
    for (d, n, alpha) in [(1.0, 1, 0.05), (f64::NAN, 5, 0.05), (1.0, 5, 0.0), (1.0, 5, 1.0), (f64::INFINITY, 5, 0.05)] {
        assert_eq!(t_test_power(d, n, alpha), None);
    }
    for (d, alpha, power) in
        [(0.0, 0.05, 0.8), (1e-9, 0.05, 0.8), (1.0, 0.05, 1.0), (1.0, 0.05, 0.0), (1.0, 2.0, 0.8), (f64::NAN, 0.05, 0.8)]
    {
        assert_eq!(runs_needed(d, alpha, power), None, "{d} {alpha} {power}");
    }
    // (z of 97.5 % + z of 80 %)² / d², for few and for many.
    assert!(runs_needed(1e-3, 0.05, 0.8).is_some_and(|n| (n as f64 / 7.848_879e6 - 1.0).abs() < 1e-5));
}

/// The mean over many pairs is the true squared effect, where the measured ratio is far off.
#[test]
fn the_squared_effect_is_unbiased() {
    let mut state = 11u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let (n, pairs) = (10, 40_000);
    for d in [0.0, 0.5] {
        let (mut estimated, mut measured) = (0.0, 0.0);
        for _ in 0..pairs {
            let draws: Vec<f64> = (0..n).map(|_| d + normal()).collect();
            let (mean, std) = moments(&draws);
            estimated += squared_effect(t_test(mean, std, n).unwrap().t, n).unwrap() / f64::from(pairs);
            measured += (mean / std) * (mean / std) / f64::from(pairs);
        }
        assert!((estimated - d * d).abs() < 0.008, "{d}: {estimated}");
        assert!(measured > d * d + 0.11, "{d}: {measured}");
    }
    assert_eq!(squared_effect(2.0, 3), None);
    assert_eq!(squared_effect(f64::INFINITY, 10), None);
    assert!(squared_effect(0.0, 10).unwrap() < 0.0);
}
