//! What a notebook shows for a table.

use ascribe::display::html;
use polars::prelude::*;

fn frame(columns: Vec<Column>) -> DataFrame {
    DataFrame::new_infer_height(columns).expect("columns of one length")
}

/// Rows of the body as their cells' texts.
fn cells(html: &str) -> Vec<Vec<String>> {
    let body = html.split_once("<tbody>").expect("a body").1;
    let text = |cell: &str| cell.split_once('>').map(|(_, text)| text.split_once("</td>").expect("a closed cell").0.to_string());
    body.split("<tr>").skip(1).map(|row| row.split("<td").skip(1).filter_map(text).collect()).collect()
}

#[test]
fn markup_in_names_and_values_is_text() {
    let nasty = "<script>alert('x')</script> & \"quoted\"";
    let html = html(&frame(vec![Column::new(nasty.into(), [nasty, "<b>"])]));
    assert!(!html.contains("<script>") && !html.contains("<b>"));
    assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;").count(), 2);
}

#[test]
fn a_value_stays_on_its_line() {
    let html = html(&frame(vec![Column::new("text".into(), ["a\nEVCXR_END_CONTENT\nb"])]));
    assert!(html.lines().all(|line| line != "EVCXR_END_CONTENT"));
}

#[test]
fn numbers_are_right_aligned_and_text_is_not() {
    let html = html(&frame(vec![
        Column::new("name".into(), ["a"]),
        Column::new("score".into(), [1.5f32]),
        Column::new("rank".into(), [7u32]),
    ]));
    assert!(html.contains("<td>a</td><td class=\"n\">1.5</td><td class=\"n\">7</td>"));
    assert!(html.contains("td.n{text-align:right;font-variant-numeric:tabular-nums}"));
    assert!(html.contains("<th class=\"n\" title=\"f32\">score</th>") && html.contains("<th title=\"str\">name</th>"));
}

#[test]
fn floats_of_a_column_share_four_significant_digits() {
    let html = html(&frame(vec![
        Column::new("score".into(), [0.1f32, -12.345678, 3.0]),
        Column::new("p".into(), [0.123456789012345f64, 1e-12, f64::NAN]),
    ]));
    assert_eq!(cells(&html), [["0.10", "0.1235"], ["-12.35", "1.0e-12"], ["3.00", "NaN"]]);
}

#[test]
fn missing_values_are_dashes() {
    let html = html(&frame(vec![Column::new("a".into(), [Some(1.0f64), None]), Column::new("b".into(), [None, Some("x")])]));
    assert_eq!(cells(&html), [["1.0", "—"], ["—", "x"]]);
}

#[test]
fn long_text_is_cut_and_kept_for_pointing_at() {
    let long = "é".repeat(61);
    let html = html(&frame(vec![Column::new("text".into(), [long.as_str()])]));
    assert!(html.contains(&format!("<td title=\"{long}\">{}…</td>", "é".repeat(59))));
}

#[test]
fn a_long_table_shows_both_ends() {
    let numbers = |n: u32| html(&frame(vec![Column::new("i".into(), (0..n).collect::<Vec<_>>())]));
    assert_eq!(cells(&numbers(20)).len(), 20);
    let shown: Vec<String> = cells(&numbers(1000)).concat();
    assert_eq!(shown, ["0", "1", "2", "3", "4", "5", "6", "7", "⋮", "996", "997", "998", "999"]);
    assert!(numbers(1000).contains("1000 rows × 1 column</caption>"));
}

#[test]
fn a_long_name_may_break_after_its_underscores() {
    let html = html(&frame(vec![Column::new("pearson_low".into(), [1u32])]));
    assert!(html.contains(">pearson_<wbr>low</th>"));
}

#[test]
fn a_wide_table_shows_both_ends() {
    let wide = |n: usize| html(&frame((0..n).map(|j| Column::new(format!("c{j}").into(), [j as u32])).collect()));
    assert_eq!(cells(&wide(20))[0].len(), 20);
    let row = cells(&wide(100)).remove(0);
    assert_eq!((row.len(), row[11].as_str(), row[12].as_str(), row[13].as_str(), row[16].as_str()), (17, "11", "…", "96", "99"));
}

#[test]
fn empty_tables_and_other_types_show_too() {
    assert!(html(&DataFrame::empty()).contains("0 rows × 0 columns"));
    let list = Column::new("list".into(), [Series::new("".into(), [1u32, 2]), Series::new("".into(), [3u32])]);
    let html = html(&frame(vec![list, Column::new("flag".into(), [Some(true), None])]));
    assert_eq!(cells(&html), [["[1, 2]", "true"], ["[3]", "—"]]);
}
