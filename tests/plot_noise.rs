//! Figures of scores as random variables: what is in them, and what they refuse to draw.

use ascribe::plot::{self, Figure, Noise};
use ascribe::polars::df;
use ascribe::{Error, Result, default};
use polars::prelude::*;

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

fn count(figure: &Figure, what: &str) -> usize {
    figure.svg().matches(what).count()
}

/// A number in the attributes of a line of SVG.
fn number(line: &str, key: &str) -> f64 {
    let rest = line.split(&format!(" {key}=\"")).nth(1).expect("the attribute");
    rest.split('"').next().and_then(|text| text.parse().ok()).expect("a number")
}

/// With 10 runs and p = 0.05 the lines have the slope √10 / 2.262 = 1.398.
#[test]
fn noise_tells_pairs_below_its_lines_from_those_above() -> Result<()> {
    let table = df!(
        "mean" => [1.0, -1.0, 1.0, -1.0, 0.0, 0.5, 2.0],
        "std" => [Some(1.39), Some(1.39), Some(1.41), Some(1.41), Some(1.0), Some(0.0), None],
    )?;
    let figure = plot::noise(&table, 10)?;
    assert!(
        figure.svg().contains(">2 of 6 pairs below the dashed lines (p &lt; 0.05, 10 runs); pure noise: 0<"),
        "{}",
        figure.svg()
    );
    // Points that are clear of their noise have a colour of their own; one without noise has no t.
    assert_eq!((count(&figure, "<circle"), count(&figure, "fill=\"#D55E00\""), count(&figure, "fill=\"#0072B2\"")), (6, 2, 4));
    let strict = Noise { alpha: 0.001, ..default() }.draw(&table)?;
    assert_eq!(count(&strict, "fill=\"#D55E00\""), 0);
    assert!(message(plot::noise(&table, 1)).contains("Noise.runs: expected at least 2"));
    assert!(message(Noise { alpha: 1.0, ..default() }.draw(&table)).contains("Noise.alpha"));
    assert!(message(plot::noise(&table.drop("std")?, 10)).contains("column std"));
    assert!(message(plot::noise(&table.tail(Some(1)), 10)).contains("at least one pair"));
    assert!(message(plot::noise(&df!("mean" => [f64::NAN], "std" => [1.0])?, 10)).contains("finite"));
    for odd in [[0.0, 0.0], [7.0, 7.0], [1e-20, 3e-20], [-1e80, 1e80]] {
        plot::noise(&df!("mean" => odd, "std" => odd.map(f64::abs))?, 3)?;
    }
    Ok(())
}

#[test]
fn noise_of_many_pairs_is_a_picture_of_bounded_size() -> Result<()> {
    let n = 200_000;
    let at = |i: i32, by: f64| (f64::from(i) * by).sin();
    let mean: Vec<f64> = (0..n).map(|i| if i == 5 { 1e6 } else { at(i, 0.7) }).collect();
    let std: Vec<f64> = (0..n).map(|i| 1.5 + at(i, 1.3)).collect();
    let figure = plot::noise(&df!("mean" => mean, "std" => std)?, 10)?;
    assert!(figure.svg().len() < 300_000 && count(&figure, "<circle") == 0 && count(&figure, "<image") == 1);
    // The outermost thousandth on each side of the mean, and above: an outlier does not set the axis.
    assert!(figure.svg().contains("lie beyond the axes") && !figure.svg().contains("1000000"));
    // Just below where cells begin.
    let points: Vec<f64> = (0..2_000).map(|i| at(i, 0.7)).collect();
    let scattered = plot::noise(&df!("mean" => points, "std" => vec![1.0; 2_000])?, 10)?;
    assert!(count(&scattered, "<circle") == 2_000 && scattered.svg().len() < 300_000, "{}", scattered.svg().len());
    Ok(())
}

#[test]
fn p_values_stand_beside_what_noise_would_give() -> Result<()> {
    // Half of 2,000 uniform, half tiny: π₀ is a half.
    let p: Vec<Option<f64>> =
        (0..2_000).map(|i| Some(if i < 1_000 { (f64::from(i) + 0.5) / 1_000.0 } else { 1e-6 })).chain([None, None]).collect();
    let figure = plot::p_values(&df!("p" => p)?, "p")?;
    assert!(figure.svg().contains(">2000 p-values, 1050 below 0.05 (pure noise: 100), 2 missing<"), "{}", figure.svg());
    assert!(figure.svg().contains("π₀ = 0.501"));
    assert_eq!(count(&figure, "fill=\"#92C5DE\""), 20);
    assert!(message(plot::p_values(&df!("p" => [0.5, 1.5])?, "p")).contains("between 0 and 1, got 1.5"));
    assert!(message(plot::p_values(&df!("p" => [None::<f64>])?, "p")).contains("at least one p-value"));
    assert!(message(plot::p_values(&df!("p" => ["a"])?, "p")).contains("column of numbers"));
    assert!(message(plot::p_values(&df!("p" => [0.5])?, "q")).contains("column q"));
    for p in [vec![0.0], vec![1.0], vec![0.05; 3]] {
        plot::p_values(&df!("p" => p)?, "p")?;
    }
    Ok(())
}

fn draws() -> DataFrame {
    df!(
        "test" => [0, 0, 0, 0, 0, 0, 0, 1, 1],
        "train" => [7, 7, 7, 7, 7, 7, 7, 7, 7],
        "run" => ["a", "a", "b", "b", "c<", "c<", "c<", "a", "b"],
        "score" => [Some(1.0), Some(3.0), Some(3.0), Some(5.0), Some(6.0), None, Some(6.0), Some(-4.0), None],
    )
    .expect("equal lengths")
}

/// Run means 2, 4, 6: mean 4, standard error 2 / √3, t = 3.46 with 2 degrees of freedom.
#[test]
fn strips_show_draws_means_and_intervals_over_runs() -> Result<()> {
    let figure = plot::strips(&draws(), "score", &["test", "train"], "run")?;
    let svg = figure.svg();
    for text in [">test 0, train 7</text>", ">test 1, train 7</text>", ">c&lt;</text>", ">p = 0.074</text>", ">—</text>"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    // Seven draws and three names; one band, since a single run has none.
    assert_eq!((count(&figure, "<circle"), count(&figure, "fill=\"#e3e7eb\"")), (10, 1));
    let band = svg.lines().find(|line| line.contains("#e3e7eb")).expect("a band");
    let mean = svg.lines().find(|line| line.starts_with("<line") && line.contains("stroke-width=\"2\"")).expect("a mean");
    assert!((number(band, "x") + number(band, "width") / 2.0 - number(mean, "x1")).abs() < 0.2, "the band lies about the mean");
    // Between the dots of 3 and 5, which are 2 apart, as half of the band's 2 · 4.303 · 2 / √3.
    let dots: Vec<f64> = svg
        .lines()
        .filter(|line| line.contains("r=\"2.5\""))
        .map(|line| number(&line.replace("<circle ", "<circle  "), "cx"))
        .collect();
    let unit = (dots[3] - dots[1]) / 2.0;
    assert!((number(band, "width") / unit - 2.0 * 4.303 * 2.0 / 3f64.sqrt()).abs() < 0.02);
    assert!(message(plot::strips(&draws(), "score", &[], "run")).contains("option strip"));
    assert!(message(plot::strips(&draws(), "score", &["test"], "seed")).contains("column seed"));
    assert!(message(plot::strips(&draws(), "run", &["test"], "run")).contains("column of numbers"));
    assert!(message(plot::strips(&draws().tail(Some(1)), "score", &["test"], "run")).contains("at least one score"));
    let many = df!("test" => (0..25).collect::<Vec<i32>>(), "run" => vec![0; 25], "score" => vec![0.5; 25])?;
    assert!(message(plot::strips(&many, "score", &["test"], "run")).contains("at most 24 strips to draw, got 25"));
    // Twenty runs: no names, and as many colours.
    let runs = df!("test" => vec![0; 20], "run" => (0..20).collect::<Vec<i32>>(), "score" => vec![0.5; 20])?;
    let figure = plot::strips(&runs, "score", &["test"], "run")?;
    let mut colours: Vec<&str> =
        figure.svg().lines().filter(|line| line.starts_with("<circle")).filter_map(|line| line.split("fill=").nth(1)).collect();
    assert_eq!(colours.len(), 20);
    colours.sort_unstable();
    colours.dedup();
    assert_eq!(colours.len(), 20);
    Ok(())
}

#[test]
fn bars_stand_in_groups_with_their_intervals() -> Result<()> {
    let table = df!(
        "method" => ["a<b", "a<b", "LOO", "LOO"],
        "component" => ["init", "order", "init", "order"],
        "share" => [Some(0.75), Some(-0.25), Some(0.5), None],
        "low" => [Some(0.5), Some(-0.3), None, None],
        "high" => [Some(1.0), Some(0.0), None, None],
    )?;
    let figure = plot::bars(&table, "share", "method", Some("component"))?;
    let svg = figure.svg();
    for text in [">a&lt;b</text>", ">LOO</text>", ">order</text>", ">0.75</text>", ">−0.25</text>", ">—</text>"] {
        assert!(svg.contains(text), "{text}");
    }
    // Two bars and the legend's square in the first colour, one and its square in the second; two intervals of three lines.
    assert_eq!(
        (count(&figure, "fill=\"#0072b2\""), count(&figure, "fill=\"#d55e00\""), count(&figure, "stroke-width=\"1.5\"")),
        (3, 2, 6)
    );
    let bars: Vec<&str> = svg.lines().filter(|line| line.starts_with("<rect") && line.contains("height=\"15.0\"")).collect();
    assert!((number(bars[0], "width") / number(bars[1], "width") - 3.0).abs() < 0.02, "as long as their values");
    assert!((number(bars[1], "x") + number(bars[1], "width") - number(bars[0], "x")).abs() < 0.2, "from zero to the left");
    let plain = plot::bars(&table.head(Some(1)), "share", "method", None)?;
    assert!(plain.svg().contains("bar: value; line: its interval"));
    assert!(plot::bars(&table.drop("low")?, "share", "method", Some("component"))?.svg().contains(">bar: value<"));
    assert!(message(plot::bars(&table, "share", "method", None)).contains("each bar once, got a<b again"));
    assert!(message(plot::bars(&table, "component", "method", None)).contains("column of numbers"));
    assert!(message(plot::bars(&table.tail(Some(1)), "share", "method", None)).contains("at least one number"));
    let kinds = df!("by" => vec![0; 8], "kind" => (0..8).collect::<Vec<i32>>(), "x" => vec![1.0; 8])?;
    assert!(message(plot::bars(&kinds, "x", "by", Some("kind"))).contains("at most 7 kinds of bar to draw, got 8"));
    plot::bars(&df!("by" => ["a"], "x" => [0.0])?, "x", "by", None)?;
    Ok(())
}

#[test]
fn correlations_are_symmetric_panels_on_one_scale() -> Result<()> {
    let table = df!(
        "a" => ["LOO", "LOO", "ATS", "LOO"],
        "b" => ["ATS", "a<b", "a<b", "ATS"],
        "of" => ["mean", "mean", "mean", "std"],
        "value" => [Some(0.25), Some(-1.0), None, Some(-0.001)],
    )?;
    let figure = plot::correlations(&table, Some("of"), None)?;
    let svg = figure.svg();
    // Two panels of 3 × 3: each pair twice, three ones on each diagonal (and one on the colour bar), what is missing as a dash.
    for (text, times) in
        [(">0.25<", 2), (">−1.00<", 2), (">0.00<", 2), (">–<", 6), (">1<", 7), (">mean<", 1), (">std<", 1), (">a&lt;b<", 3)]
    {
        assert_eq!(count(&figure, text), times, "{text}: {svg}");
    }
    // The most negative value has the colour of the scale's end, in whatever panel.
    assert_eq!(count(&figure, "fill=\"#67001f\""), 2);
    let grid = plot::correlations(&table, None, Some("of"))?;
    assert!(grid.svg().len() > 1_000 && format!("{grid:?}").contains("3 columns in 2 panels"));
    assert!(message(plot::correlations(&table, None, None)).contains("each pair once in a panel, got LOO and ATS again"));
    assert!(message(plot::correlations(&table.head(Some(0)), None, None)).contains("at least one row"));
    assert!(message(plot::correlations(&table, Some("panel"), None)).contains("column panel"));
    assert!(matches!(
        plot::correlations(&df!("a" => ["x"], "b" => ["y"], "value" => [1.5])?, None, None),
        Err(Error::Data { .. })
    ));
    let many: Vec<String> = (0..21).map(|i| i.to_string()).collect();
    let frame = df!("a" => vec!["x"; 21], "b" => many, "value" => vec![0.5; 21])?;
    assert!(message(plot::correlations(&frame, None, None)).contains("at most 20 names to draw, got 22"));
    Ok(())
}
