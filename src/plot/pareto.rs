//! What a method costs against what it is worth.

use polars::prelude::{DataFrame, DataType};

use super::axes::Axis;
use super::figure::Figure;
use super::intervals::{end, finite};
use super::svg::{Anchor, Page, Style, width_of};
use crate::display::cut;
use crate::error::{Error, Result};
use crate::frame::column;

const WIDTH: f64 = 740.0;
const HEIGHT: f64 = 440.0;
const MOST: usize = 40;
const LONGEST: usize = 40;
const SIZE: f64 = 12.0;
const BLUE: &str = "#0072b2";
const GREY: &str = "#8a929b";

/// Column `y` against the cost in column `x`, on a logarithmic axis: a dot for each row, named by the column `by`, with the bar from
/// `<y>_low` to `<y>_high`, or else from `low` to `high`, through it where the table has these columns.
///
/// The dashed line joins the rows that no other beats: nothing as cheap is better. At most 40 rows; one without a cost or a value is
/// left out, and the subtitle says so.
///
/// Errors: [`Error::Data`] if a column is missing or not numeric, a number is not finite, a cost is not above zero, no row has both, or
/// rows are too many.
///
/// ```
/// use ascribe::plot;
/// use polars::df;
/// let table = df!("method" => ["GradDot", "TRAK", "retraining"], "seconds" => [0.5, 4.0, 900.0], "lds" => [0.1, 0.4, 0.9])?;
/// assert!(plot::pareto(&table, "seconds", "lds", "method")?.svg().contains(">TRAK</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pareto(frame: &DataFrame, x: &str, y: &str, by: &str) -> Result<Figure> {
    let points = points(frame, x, y, by)?;
    let left_out = frame.height() - points.len();
    let cost = |point: &Point| point.x.log10();
    let (least, most) = span(points.iter().map(cost));
    let room = (0.05 * (most - least)).max(0.15);
    let (from, to) = (least - room, most + room);
    let (low, high) = span(points.iter().flat_map(|point| [point.low, point.y, point.high]));
    let axis = Axis::new(low - 0.05 * (high - low), high + 0.05 * (high - low), 6.0, y)?;
    let texts = axis.marks().iter().map(|(_, text)| width_of(text, SIZE)).fold(12.0, f64::max);
    let inside = Area { left: 44.0 + texts, right: WIDTH - 24.0, top: 62.0, bottom: HEIGHT - 52.0 };
    let place = |point: &Point, value: f64| {
        let across = inside.left + (cost(point) - from) / (to - from) * (inside.right - inside.left);
        (across, inside.bottom - axis.share(value) * (inside.bottom - inside.top))
    };
    let mut page = Page::new(WIDTH, HEIGHT);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("{y} against {x}"), 80));
    let without = if left_out > 0 { format!("; {left_out} left out, without a number") } else { String::new() };
    page.text(16.0, 44.0, Style::quiet(), &format!("bar: interval; dashed: nothing as cheap is better{without}"));
    for (tick, text) in decades(from, to) {
        let at = inside.left + (tick - from) / (to - from) * (inside.right - inside.left);
        page.line((at, inside.top), (at, inside.bottom), "#e8ebee", 1.0, "");
        page.text(at, inside.bottom + 17.0, Style::quiet().anchored(Anchor::Middle), &text);
    }
    for (tick, text) in axis.marks() {
        let at = inside.bottom - axis.share(tick) * (inside.bottom - inside.top);
        page.line((inside.left, at), (inside.right, at), if tick == 0.0 { GREY } else { "#e8ebee" }, 1.0, "");
        page.text(inside.left - 8.0, at + 4.0, Style::quiet().anchored(Anchor::End), &text);
    }
    page.line((inside.left, inside.bottom), (inside.right, inside.bottom), GREY, 1.0, "");
    let middle = Style::plain().anchored(Anchor::Middle);
    page.text((inside.left + inside.right) / 2.0, HEIGHT - 14.0, middle, &cut(x, 80));
    page.turned(22.0, (inside.top + inside.bottom) / 2.0, -90.0, middle, &cut(y, 50));
    let (front, mut taken) = (front(&points), Vec::new());
    for pair in front.windows(2) {
        let (a, b) = (place(&points[pair[0]], points[pair[0]].y), place(&points[pair[1]], points[pair[1]].y));
        page.line(a, b, GREY, 1.5, "5 4");
        let pieces = ((b.0 - a.0).hypot(b.1 - a.1) / 5.0).ceil().max(1.0);
        let along = |step: u32| (a.0 + (b.0 - a.0) * f64::from(step) / pieces, a.1 + (b.1 - a.1) * f64::from(step) / pieces);
        taken.extend((0..=pieces as u32).map(|step| Area::about(along(step), 2.0)));
    }
    for (at, point) in points.iter().enumerate() {
        let ((across, up), colour) = (place(point, point.y), if front.contains(&at) { BLUE } else { GREY });
        let (top, bottom) = (place(point, point.high).1, place(point, point.low).1);
        if bottom > top {
            page.line((across, bottom), (across, top), colour, 1.5, "");
            for end in [top, bottom] {
                page.line((across - 3.0, end), (across + 3.0, end), colour, 1.5, "");
            }
        }
        page.dot(across, up, 4.5, colour);
        taken.push(Area { left: across - 3.0, right: across + 3.0, top, bottom });
        taken.push(Area::about((across, up), 5.0));
    }
    for point in &points {
        let dot = place(point, point.y);
        let area = free(dot, width_of(&point.name, SIZE), &inside, &taken);
        let baseline = area.bottom - 3.0;
        let nearest = (dot.0.clamp(area.left, area.right), dot.1.clamp(area.top, area.bottom));
        if (nearest.0 - dot.0).hypot(nearest.1 - dot.1) > 14.0 {
            page.line(dot, nearest, GREY, 0.7, "");
        }
        page.text(area.left, baseline, Style::plain(), &point.name);
        taken.push(area);
    }
    Ok(page.finish(&format!("{} against {} by {}", cut(y, 40), cut(x, 40), cut(by, 40))))
}

struct Point {
    name: String,
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

/// The rows that have a cost and a value.
fn points(frame: &DataFrame, x: &str, y: &str, by: &str) -> Result<Vec<Point>> {
    if frame.height() > MOST {
        return Err(Error::data(by, format!("expected at most {MOST} rows to draw, got {}", frame.height())));
    }
    let has = |name: &str| frame.columns().iter().any(|column| column.name().as_str() == name);
    let end_of = |which: &str| match end(frame, y, which) {
        name if has(&name) => finite(frame, &name),
        _ => Ok(vec![None; frame.height()]),
    };
    let (costs, values) = (finite(frame, x)?, finite(frame, y)?);
    let (low, high) = (end_of("low")?, end_of("high")?);
    let names = column(frame, by)?.cast(&DataType::String)?;
    let mut points = Vec::new();
    for (row, name) in names.str()?.iter().enumerate() {
        let (Some(cost), Some(value)) = (costs[row], values[row]) else { continue };
        if cost <= 0.0 {
            return Err(Error::data(x, format!("expected costs above 0 for a logarithmic axis, got {cost}")));
        }
        let (low, high) = (low[row].unwrap_or(value).min(value), high[row].unwrap_or(value).max(value));
        points.push(Point { name: cut(name.unwrap_or("—"), LONGEST), x: cost, y: value, low, high });
    }
    match points.is_empty() {
        true => Err(Error::data(y, format!("expected at least one row with {x} and {y}, got none"))),
        false => Ok(points),
    }
}

/// Points that no other beats, from cheap to dear.
fn front(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].x.total_cmp(&points[b].x).then(points[b].y.total_cmp(&points[a].y)));
    let mut best = f64::NEG_INFINITY;
    order.retain(|&at| {
        let better = points[at].y > best;
        best = best.max(points[at].y);
        better
    });
    order
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// Ticks between two powers of ten, as exponents with their numbers: decades, and 2 and 5 between them where there are few.
fn decades(from: f64, to: f64) -> Vec<(f64, String)> {
    let digits: &[u32] = if to - from < 2.5 { &[1, 2, 5] } else { &[1] };
    let every = (((to - from) / 8.0).ceil() as i32).max(1);
    let powers = (from.floor() as i32..=to.ceil() as i32).filter(|power| power.rem_euclid(every) == 0);
    let ticks =
        powers.flat_map(|power| digits.iter().map(move |digit| (f64::from(*digit).log10() + f64::from(power), digit, power)));
    let text = |digit: &u32, power: i32| match (-3..6).contains(&power) {
        true => format!("{digit}e{power}").parse::<f64>().map(|value| value.to_string()).unwrap_or_default(),
        false => format!("{digit}e{power}").replace('-', "−"),
    };
    ticks.filter(|(at, ..)| (from..=to).contains(at)).map(|(at, digit, power)| (at, text(digit, power))).collect()
}

/// A rectangle of the page.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Area {
    fn about((x, y): (f64, f64), reach: f64) -> Area {
        Area { left: x - reach, right: x + reach, top: y - reach, bottom: y + reach }
    }

    fn shared(&self, other: &Area) -> f64 {
        let wide = self.right.min(other.right) - self.left.max(other.left);
        wide.max(0.0) * (self.bottom.min(other.bottom) - self.top.max(other.top)).max(0.0)
    }
}

/// A place near the dot for a name, inside the axes, on nothing else: the first of a widening ring; where all is full, that which
/// covers least.
fn free((x, y): (f64, f64), width: f64, inside: &Area, taken: &[Area]) -> Area {
    let mut best: Option<(f64, Area)> = None;
    for reach in [0.0, 12.0, 24.0, 40.0, 60.0, 85.0, 115.0, 150.0] {
        let (near, middle) = (8.0 + reach, x - width / 2.0);
        let corners = [
            (x + near, y),
            (x - near - width, y),
            (middle, y - near - 7.0),
            (middle, y + near + 7.0),
            (x + near, y - near),
            (x + near, y + near),
            (x - near - width, y - near),
            (x - near - width, y + near),
        ];
        for (left, centre) in corners {
            let area = Area { left, right: left + width, top: centre - 8.0, bottom: centre + 8.0 };
            let whole =
                area.left >= inside.left && area.right <= inside.right && area.top >= inside.top && area.bottom <= inside.bottom;
            let covered: f64 = taken.iter().map(|other| area.shared(other)).sum();
            if whole && covered == 0.0 {
                return area;
            }
            if whole && best.is_none_or(|(least, _)| covered < least) {
                best = Some((covered, area));
            }
        }
    }
    best.map_or(Area { left: inside.left, right: inside.left + width, top: y - 8.0, bottom: y + 8.0 }, |(_, area)| area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_logarithmic_axis() {
        let texts = |from, to| decades(from, to).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(-1.1, 1.1), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(texts(-2.5, 3.1), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(texts(-9.0, 9.0), ["1e−9", "1e−6", "0.001", "1", "1000", "1e6", "1e9"]);
    }

    #[test]
    fn the_front_is_what_no_other_beats() {
        let point = |x, y| Point { name: String::new(), x, y, low: y, high: y };
        let points = [point(5.0, 0.5), point(1.0, 0.2), point(2.0, 0.1), point(5.0, 0.6), point(9.0, 0.6)];
        assert_eq!(front(&points), [1, 3]);
    }
}
