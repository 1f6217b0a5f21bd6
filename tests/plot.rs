//! Figures: what is in them, and what they refuse to draw.

use std::io::Read;

use ascribe::dataset::Dataset;
use ascribe::plot::{self, Curve, Figure, Gallery, Scatter};
use ascribe::scores::Scores;
use ascribe::{Error, Result, default};
use polars::prelude::*;
use tch::{Device, Kind, Tensor};

/// Pictures of 4 × 4 pixels, 10 to train on with 5 classes and 2 to test; scores are -5 … 4 for the first test example.
fn scored(inputs: &[i64]) -> Result<(Scores, Dataset, Dataset)> {
    let labels: Vec<i64> = (0..10).map(|i| i % 5).collect();
    let size: Vec<i64> = [10].iter().chain(inputs).copied().collect();
    let pixels = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)).view(size.as_slice()) + 40.0;
    let train = Dataset::new(pixels, Tensor::from_slice(&labels))?.with_class_names(&["zero", "<one>", "two", "three", "four"]);
    let test = train.head(2)?;
    let scores = Scores::new(Tensor::arange(20, (Kind::Float, Device::Cpu)).view([2, 10]) - 5.0, "TRAK & co", &test, &train)?;
    Ok((scores, train, test))
}

/// Embedded pictures as width, colour type and unpacked rows.
fn pictures(figure: &Figure) -> Vec<(u32, u8, Vec<u8>)> {
    figure.svg().split("base64,").skip(1).map(|rest| unpack(&decode(rest.split('"').next().expect("a quote")))).collect()
}

fn decode(text: &str) -> Vec<u8> {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = text.trim_end_matches('=').chars().map(|c| letters.find(c).expect("a base64 letter") as u8).collect();
    let whole = |group: &[u8]| group.iter().fold(0u32, |all, &six| all << 6 | u32::from(six)) << (6 * (4 - group.len()));
    bits.chunks(4).flat_map(|group| whole(group).to_be_bytes()[1..group.len()].to_vec()).collect()
}

fn unpack(png: &[u8]) -> (u32, u8, Vec<u8>) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]);
    let (mut at, mut packed) = (8, Vec::new());
    while at < png.len() {
        let length = number(at) as usize;
        let mut sum = flate2::Crc::new();
        sum.update(&png[at + 4..at + 8 + length]);
        assert_eq!(number(at + 8 + length), sum.sum(), "checksum of a chunk");
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut rows = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut rows).expect("zlib data");
    (number(16), png[25], rows)
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_gallery_holds_the_pictures_it_promises() -> Result<()> {
    let (scores, train, test) = scored(&[1, 4, 4])?;
    let figure = plot::gallery(&scores, &train, &test, 1)?;
    let pictures = pictures(&figure);
    assert_eq!(pictures.len(), 13);
    assert!(pictures.iter().all(|(width, colour, rows)| (*width, *colour, rows.len()) == (4, 0, 4 * 5)));
    // The strongest proponent is train example 9, the last; its last pixel is the largest of all, so white.
    assert_eq!(pictures[1].2.last(), Some(&255));
    // The strongest opponent is train example 0, whose first pixel (after the byte of the row's filter) is the smallest: black.
    assert_eq!(pictures[7].2[..2], [0, 0]);
    Gallery { k: 2 }.draw(&scores, &train, &test, 0).map(|figure| assert_eq!(figure.svg().matches("<image").count(), 5))
}

#[test]
fn a_gallery_names_classes_and_marks_others() -> Result<()> {
    let (scores, train, test) = scored(&[16])?;
    let figure = plot::gallery(&scores, &train, &test, 0)?;
    let svg = figure.svg();
    assert!(svg.contains("TRAK &amp; co: test example 0") && svg.contains("&lt;one&gt;") && !svg.contains("<one>"));
    assert!(svg.contains("proponents (raise the measurement)") && svg.contains("opponents (lower it)"));
    assert!(svg.contains(">4</text>") && svg.contains(">−5</text>"));
    let red = svg.lines().filter(|line| line.contains("#b2182b")).collect::<Vec<_>>();
    assert!(red.iter().any(|line| line.contains(">four<")) && red.iter().all(|line| !line.contains(">zero<")));
    Ok(())
}

#[test]
fn a_gallery_says_when_nothing_opposes() -> Result<()> {
    let (scores, train, test) = scored(&[4, 4])?;
    assert!(plot::gallery(&scores, &train, &test, 1)?.svg().contains("lowest scores (none lowers it)"));
    Ok(())
}

#[test]
fn a_gallery_draws_colours_and_thins_large_pictures() -> Result<()> {
    let (scores, train, test) = scored(&[3, 4, 4])?;
    let colour = plot::gallery(&scores, &train, &test, 0)?;
    assert!(pictures(&colour).iter().all(|(width, kind, rows)| (*width, *kind, rows.len()) == (4, 2, 4 * 13)));
    let (scores, train, test) = scored(&[300, 200])?;
    let large = plot::gallery(&scores, &train, &test, 0)?;
    assert!(pictures(&large).iter().all(|(width, _, rows)| (*width, rows.len()) == (67, 100 * 68)));
    Ok(())
}

#[test]
fn a_gallery_refuses_what_it_cannot_draw() -> Result<()> {
    let (scores, train, test) = scored(&[17])?;
    let error = plot::gallery(&scores, &train, &test, 0).err();
    assert!(
        matches!(&error, Some(Error::Unsupported(text)) if text.contains("[n, 3, h, w]") && text.contains("[10, 17]")),
        "{error:?}"
    );
    let (scores, train, test) = scored(&[16])?;
    let others = train.select(&[1, 0, 2, 3, 4, 5, 6, 7, 8, 9])?;
    assert!(matches!(plot::gallery(&scores, &others, &test, 0), Err(Error::Data { .. })));
    assert!(matches!(plot::gallery(&scores, &train, &train, 0), Err(Error::Data { .. })));
    assert_eq!(message(plot::gallery(&scores, &train, &test, 2)), "data test position: expected 0 to 1, got 2");
    assert_eq!(message(Gallery { k: 13 }.draw(&scores, &train, &test, 0)), "option Gallery.k: expected 1 to 12, got 13");
    let tokens =
        Dataset::new(Tensor::zeros([10, 16], (Kind::Int64, Device::Cpu)), Tensor::arange(10, (Kind::Int64, Device::Cpu)))?;
    assert!(matches!(plot::gallery(&scores, &tokens, &tokens.head(2)?, 0), Err(Error::Data { .. })), "same ids, other inputs");
    let of_tokens = Scores::new(scores.tensor().shallow_clone(), "m", &tokens.head(2)?, &tokens)?;
    assert!(matches!(plot::gallery(&of_tokens, &tokens, &tokens.head(2)?, 0), Err(Error::Unsupported(_))));
    Ok(())
}

#[test]
fn a_heatmap_has_a_pixel_per_score_with_zero_in_the_middle() -> Result<()> {
    let (scores, ..) = scored(&[16])?;
    let pictures = pictures(&plot::heatmap(&scores)?);
    let (width, kind, rows) = &pictures[0];
    assert_eq!((*width, *kind, rows.len()), (10, 3, 2 * 11));
    assert_eq!((rows[6], rows[21]), (127, 254)); // score 0 of test 0, and the largest
    assert!(rows[1] < 127 && rows[7] > 127);
    Ok(())
}

#[test]
fn a_large_heatmap_shows_means_and_says_so() -> Result<()> {
    let ones =
        |n: i64| Dataset::new(Tensor::ones([n, 1], (Kind::Float, Device::Cpu)), Tensor::zeros([n], (Kind::Float, Device::Cpu)));
    let (test, train) = (ones(400)?, ones(1120)?);
    let signs = Tensor::ones([400, 1120], (Kind::Float, Device::Cpu));
    let _ = signs.slice(1, 0, 1120, 2).fill_(-1.0); // every second score is the opposite, so each mean is zero
    let figure = plot::heatmap(&Scores::new(signs, "m", &test, &train)?)?;
    assert!(figure.svg().contains("mean of about 2.0 × 2.0 neighbouring scores"));
    let (width, _, rows) = &pictures(&figure)[0];
    assert!(*width == 560 && rows.len() == 200 * 561 && rows.chunks(561).all(|row| row[1..].iter().all(|&place| place == 127)));
    Ok(())
}

#[test]
fn a_matrix_shows_names_and_numbers() -> Result<()> {
    let values = Tensor::from_slice(&[1.0f32, -0.5, 0.0, 0.25, 2.0, 3.0]).view([2, 3]);
    let figure = plot::matrix(&values, &["TRAK", "<b>"], &["x", "y", "z"])?;
    assert!(["TRAK", "&lt;b&gt;", "−0.50", "0.25"].iter().all(|text| figure.svg().contains(&format!(">{text}</text>"))));
    assert!(matches!(plot::matrix(&values, &["a"], &["x", "y", "z"]), Err(Error::Shape { .. })));
    assert!(plot::matrix(&(values * f64::NAN), &["a", "b"], &["x", "y", "z"]).is_err());
    assert!(plot::matrix(&Tensor::zeros([0, 0], (Kind::Float, Device::Cpu)), &[], &[]).is_err());
    Ok(())
}

#[test]
fn a_histogram_counts_and_labels() -> Result<()> {
    let values = Series::new("score".into(), (0..1000).map(|i| (i as f32 / 80.0).sin()).collect::<Vec<_>>());
    let figure = plot::histogram(&values, "score <of> a pair")?;
    assert!(figure.svg().contains("n = 1000, mean") && figure.svg().contains("score &lt;of&gt; a pair"));
    assert!(figure.svg().matches("fill=\"#4393C3\"").count() >= 5);
    for odd in [vec![0.0f64], vec![1e-20, 3e-20], vec![7.0; 5], vec![-1e80, 1e80]] {
        plot::histogram(&Series::new("odd".into(), odd), "odd")?;
    }
    Ok(())
}

#[test]
fn a_histogram_refuses_bad_columns() {
    let of = |series: Series| message(plot::histogram(&series, "x"));
    assert!(of(Series::new("v".into(), [1.0, f64::NAN])).contains("data v: expected finite numbers, got NaN in row 1"));
    assert!(of(Series::new("v".into(), [Some(1.0), None])).contains("1 missing"));
    assert!(of(Series::new("v".into(), Vec::<f32>::new())).contains("at least one"));
    assert!(of(Series::new("v".into(), ["a"])).contains("column of numbers, got str"));
}

fn found() -> DataFrame {
    let share: Vec<f64> = (0..20).map(|i| f64::from(i % 10) / 9.0).collect();
    let found: Vec<f64> = (0..20).map(|i| (f64::from(i % 10) / 9.0).powf(if i < 10 { 0.3 } else { 1.0 })).collect();
    let method: Vec<&str> = (0..20).map(|i| if i < 10 { "TRAK" } else { "a<b" }).collect();
    let columns =
        vec![Column::new("share".into(), share), Column::new("found".into(), found), Column::new("method".into(), method)];
    DataFrame::new(20, columns).expect("equal lengths")
}

#[test]
fn a_curve_has_a_line_and_a_name_per_group() -> Result<()> {
    let figure = plot::curve(&found(), "share", "found", Some("method"))?;
    assert!(figure.svg().contains(">TRAK</text>") && figure.svg().contains(">a&lt;b</text>"));
    for colour in ["#0072B2", "#D55E00"] {
        assert_eq!(figure.svg().matches(&format!("stroke=\"{colour}\" stroke-width=\"8\" points")).count(), 1, "{colour}");
    }
    let plain = plot::curve(&found(), "share", "found", None)?;
    assert!(!plain.svg().contains(">TRAK</text>"));
    let dashed = Curve { diagonal: true, ..default() }.draw(&found(), "share", "found", None)?;
    assert!(dashed.svg().matches("<polyline").count() > plain.svg().matches("<polyline").count() + 10);
    Ok(())
}

#[test]
fn a_logarithmic_axis_has_equal_factors_equally_far_apart() -> Result<()> {
    let powers = |factor: f64| Column::new("k".into(), (0..5).map(|power| factor.powi(power)).collect::<Vec<f64>>());
    let frame = DataFrame::new(5, vec![powers(10.0), powers(3.0).with_name("y".into())])?;
    let svg = Curve { log_x: true, log_y: true, ..default() }.draw(&frame, "k", "y", None)?.svg().to_string();
    assert!(
        ["1", "10", "100", "1000"].iter().all(|tick| svg.contains(&format!("\n{tick}\n")) || svg.contains(&format!(">{tick}<"))),
        "{svg}"
    );
    // The line is straight: its five points have equal steps on both axes.
    let points = svg.split("stroke-width=\"8\" points=\"").nth(1).unwrap().split('"').next().unwrap();
    let points: Vec<(f64, f64)> = points
        .split_whitespace()
        .map(|pair| pair.split_once(',').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    assert_eq!(points.len(), 5);
    for three in points.windows(3) {
        let bend = (three[0].0 - 2.0 * three[1].0 + three[2].0).abs() + (three[0].1 - 2.0 * three[1].1 + three[2].1).abs();
        assert!(bend <= 4.0, "{points:?}");
    }
    let zero = DataFrame::new(2, vec![Column::new("x".into(), [0.0, 1.0])])?;
    assert!(
        message(Curve { log_x: true, ..default() }.draw(&zero, "x", "x", None))
            .contains("positive numbers on a logarithmic axis")
    );
    assert!(message(Curve { log_x: true, diagonal: true, ..default() }.draw(&frame, "k", "y", None)).contains("Curve.diagonal"));
    Ok(())
}

#[test]
fn a_curve_refuses_bad_columns() -> Result<()> {
    let frame = found();
    assert_eq!(message(plot::curve(&frame, "shore", "found", None)), "data column shore: expected one of share, found, method");
    assert!(message(plot::curve(&frame, "share", "found", Some("by"))).contains("column by"));
    assert!(message(plot::curve(&frame, "share", "method", None)).contains("column of numbers"));
    assert!(plot::curve(&frame.head(Some(0)), "share", "found", None).is_err());
    let many = DataFrame::new(15, vec![Column::new("x".into(), (0..15).collect::<Vec<i32>>())])?;
    assert!(message(plot::curve(&many, "x", "x", Some("x"))).contains("at most 14 lines"));
    Ok(())
}

fn circles(figure: &Figure, colour: &str) -> usize {
    figure.svg().matches("<circle").count().min(figure.svg().matches(&format!("fill=\"{colour}\"")).count())
}

#[test]
fn a_scatter_has_a_point_per_row_and_a_colour_per_group() -> Result<()> {
    let figure = plot::scatter(&found(), "share", "found", Some("method"))?;
    assert!(
        figure.svg().contains(">TRAK</text>") && figure.svg().contains(">a&lt;b</text>") && figure.svg().contains(">20 points<")
    );
    assert_eq!(figure.svg().matches("<circle").count(), 20);
    assert_eq!((circles(&figure, "#0072B2"), circles(&figure, "#D55E00")), (10, 10));
    let plain = plot::scatter(&found(), "share", "found", None)?;
    assert!(!plain.svg().contains(">TRAK</text>") && circles(&plain, "#0072B2") == 20);
    let line = Scatter { identity: true, ..default() }.draw(&found(), "share", "found", None)?;
    assert!(line.svg().contains("20 points; dashed: y = x"));
    assert!(line.svg().matches("<polyline").count() > plain.svg().matches("<polyline").count() + 10);
    assert_eq!(format!("{figure:?}"), "Figure(scatter of found against share, 620 × 452)");
    Ok(())
}

#[test]
fn a_scatter_of_many_points_is_thinned_the_same_way_each_time_and_keeps_its_edges() -> Result<()> {
    let n = 20_000;
    let x: Vec<f64> = (0..n).map(|i| if i == 777 { 50.0 } else { f64::from(i).sin() }).collect();
    let names: Vec<&str> = (0..n).map(|i| if i % 4 == 0 { "few" } else { "many" }).collect();
    let columns = vec![Column::new("x".into(), x.clone()), Column::new("y".into(), x), Column::new("by".into(), names)];
    let frame = DataFrame::new(n as usize, columns)?;
    let figure = plot::scatter(&frame, "x", "y", Some("by"))?;
    let drawn = figure.svg().matches("<circle").count();
    assert!((2000..=3000).contains(&drawn), "{drawn}");
    assert!(figure.svg().contains(&format!(">{drawn} of 20000 points, crowded places thinned<")));
    assert!(circles(&figure, "#0072B2") > 500 && circles(&figure, "#D55E00") > 500);
    assert_eq!(figure.svg(), plot::scatter(&frame, "x", "y", Some("by"))?.svg());
    let few = Scatter { most: 100, ..default() }.draw(&frame, "x", "y", None)?;
    let right = |svg: &str| {
        svg.split("<circle cx=\"").skip(1).filter_map(|c| c.split('"').next()?.parse::<f64>().ok()).fold(0.0, f64::max)
    };
    assert!(few.svg().matches("<circle").count() <= 100);
    assert_eq!(right(few.svg()), right(figure.svg()), "the point that stands alone");
    assert!(Scatter { most: 1, ..default() }.draw(&frame, "x", "y", None)?.svg().contains(">1 of 20000"));
    Ok(())
}

#[test]
fn a_scatter_refuses_bad_columns() -> Result<()> {
    let frame = found();
    assert_eq!(message(plot::scatter(&frame, "shore", "found", None)), "data column shore: expected one of share, found, method");
    assert!(message(plot::scatter(&frame, "share", "method", None)).contains("column of numbers"));
    assert!(plot::scatter(&frame.head(Some(0)), "share", "found", None).is_err());
    assert!(message(Scatter { most: 0, ..default() }.draw(&frame, "share", "found", None)).contains("Scatter.most"));
    for odd in [vec![0.0f64], vec![7.0; 5], vec![-1e80, 1e80], vec![1e-20, 3e-20]] {
        let frame = DataFrame::new(odd.len(), vec![Column::new("x".into(), odd)])?;
        Scatter { identity: true, ..default() }.draw(&frame, "x", "x", None)?;
    }
    Ok(())
}

#[test]
fn a_figure_is_saved_whole_and_only_as_svg() -> Result<()> {
    let figure = plot::curve(&found(), "share", "found", None)?;
    let path = std::env::temp_dir().join(format!("ascribe-figure-{}.svg", std::process::id()));
    figure.save(&path)?;
    assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some(figure.svg()));
    let _ = std::fs::remove_file(&path);
    assert!(matches!(figure.save("figure.png"), Err(Error::Option { .. })));
    assert!(matches!(figure.save("/nowhere/at/all.svg"), Err(Error::Io { .. })));
    assert_eq!(format!("{figure:?}"), "Figure(curve of found against share, 700 × 372)");
    Ok(())
}

#[test]
fn intervals_have_a_dot_and_a_bar_a_row() -> Result<()> {
    let table = df!(
        "method" => ["influence", "a<b", "failed"],
        "r" => [Some(0.5), Some(0.0), None],
        "r_low" => [Some(0.25), None, None],
        "r_high" => [Some(1.0), None, None],
    )?;
    let figure = plot::intervals(&table, "r", "method")?;
    let svg = figure.svg();
    for name in [">influence</text>", ">a&lt;b</text>", ">failed</text>", ">0.5</text>", ">—</text>"] {
        assert!(svg.contains(name), "{name}");
    }
    // The first row has a bar with two ends; the second, whose interval is missing, a dot alone; the third nothing.
    assert_eq!((svg.matches("<circle").count(), svg.matches("stroke=\"#0072b2\"").count()), (2, 3));
    let across =
        |marker: &str| svg.split(marker).nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok()).expect("a place");
    let bar = svg.lines().find(|line| line.contains("#0072b2") && line.starts_with("<line")).expect("a bar");
    let end = |name: &str| bar.split(name).nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok()).expect("an end");
    let share = (across("<circle cx=\"") - end("x1=\"")) / (end("x2=\"") - end("x1=\""));
    assert!((share - (0.5 - 0.25) / 0.75).abs() < 0.01, "the dot stands where its value does: {share}");
    Ok(())
}

#[test]
fn intervals_refuse_bad_columns() -> Result<()> {
    let table = df!("r" => [0.5], "r_low" => [f64::NAN], "r_high" => [1.0], "method" => ["a"], "none" => [None::<f64>])?;
    assert!(message(plot::intervals(&table, "r", "method")).contains("expected finite numbers"));
    assert!(message(plot::intervals(&table, "method", "r")).contains("expected a column of numbers"));
    assert!(message(plot::intervals(&table, "r_high", "r")).contains("column r_high_low"));
    assert!(message(plot::intervals(&table, "q", "method")).contains("column q"));
    let gaps = df!("r" => [None::<f64>], "r_low" => [None::<f64>], "r_high" => [None::<f64>])?;
    assert!(message(plot::intervals(&gaps, "r", "r")).contains("at least one number"));
    Ok(())
}

#[test]
fn a_curve_shades_its_interval() -> Result<()> {
    let frame =
        df!("models" => [1.0, 2.0, 3.0], "lds" => [0.1, 0.2, 0.3], "lds_low" => [0.0, 0.1, 0.2], "lds_high" => [0.2, 0.3, 0.9])?;
    let banded = Curve { band: true, ..default() };
    let figure = banded.draw(&frame, "models", "lds", None)?;
    assert_eq!(figure.svg().matches("<polygon").count(), 1);
    assert!(figure.svg().contains("0.8"), "the axis reaches the ends of the band");
    assert!(message(banded.draw(&frame.drop("lds_low")?, "models", "lds", None)).contains("column lds_low"));
    Ok(())
}

/// Left, right, top and bottom of the names in a figure, as wide as 12-pixel letters may be.
fn places(figure: &Figure, names: &[String]) -> Vec<[f64; 4]> {
    let number = |line: &str, key: &str| -> f64 {
        let rest = line.split(&format!(" {key}=\"")).nth(1).expect("the attribute");
        rest.split('"').next().and_then(|text| text.parse().ok()).expect("a number")
    };
    let find = |name: &String| figure.svg().lines().find(|line| line.contains(&format!(">{name}</text>"))).expect("the name");
    let place = |name: &String| {
        let (line, width) = (find(name), 6.2 * name.len() as f64);
        let (x, y) = (number(line.trim_start_matches("<text"), "x"), number(line, "y"));
        [x, x + width, y - 10.0, y + 2.0]
    };
    names.iter().map(place).collect()
}

#[test]
fn names_of_a_pareto_plot_keep_apart() -> Result<()> {
    let names: Vec<String> = (0..14).map(|i| format!("method number {i:02}")).collect();
    // All within a factor of two in cost, in two crowds.
    let seconds: Vec<f64> = (0..14).map(|i| 1.0 + f64::from(i % 5) * 0.01 + f64::from(i / 7)).collect();
    let lds: Vec<f64> = (0..14).map(|i| 0.3 + f64::from(i % 3) * 0.001).collect();
    let frame =
        df!("method" => &names, "seconds" => &seconds, "lds" => &lds, "lds_low" => vec![0.29; 14], "lds_high" => vec![0.32; 14])?;
    let figure = plot::pareto(&frame, "seconds", "lds", "method")?;
    let places = places(&figure, &names);
    for (at, a) in places.iter().enumerate() {
        assert!(a[0] > 40.0 && a[1] < 740.0 && a[2] > 50.0 && a[3] < 392.0, "{} is clipped: {a:?}", names[at]);
        for (b, other) in places[..at].iter().zip(&names) {
            assert!(a[1] <= b[0] || b[1] <= a[0] || a[3] <= b[2] || b[3] <= a[2], "{} lies on {other}", names[at]);
        }
    }
    Ok(())
}

#[test]
fn a_pareto_plot_refuses_what_has_no_logarithm() -> Result<()> {
    let frame = df!("method" => ["a", "b"], "seconds" => [Some(0.0), None], "lds" => [0.1, 0.2])?;
    let draw = |frame: &DataFrame| plot::pareto(frame, "seconds", "lds", "method");
    assert!(message(draw(&frame)).contains("costs above 0"));
    assert!(message(draw(&frame.tail(Some(1)))).contains("at least one row"));
    let partly = df!("method" => ["a", "b"], "seconds" => [Some(2.0), None], "lds" => [0.1, 0.2])?;
    assert!(draw(&partly)?.svg().contains("1 left out"));
    Ok(())
}
