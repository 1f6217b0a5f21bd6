//! Numbers as people read them: a column in one format, four significant digits.

/// One number with four significant digits, without trailing zeros.
pub(crate) fn short(value: f64) -> String {
    let text = column(&[Some(value)]).pop().unwrap_or_default();
    let (digits, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    match digits.contains('.') {
        true => format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.')),
        false => text,
    }
}

/// [`short`] with a true minus sign, for figures.
pub(crate) fn drawn(value: f64) -> String {
    short(value).replace('-', "−")
}

/// Numbers of one column in a common format: the largest gets four significant digits and the others as many decimals.
/// One that those decimals would show as zero is written with an exponent instead; a missing one is a dash.
pub(crate) fn column(values: &[Option<f64>]) -> Vec<String> {
    let finite = || values.iter().flatten().filter(|value| value.is_finite());
    let largest = finite().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let exponents = largest != 0.0 && !(1e-4..1e7).contains(&largest);
    let fitting = if largest > 0.0 { (3 - largest.log10().floor() as i32).clamp(0, 8) as usize } else { 1 };
    let needed = finite().map(|&value| decimals_of(value, fitting)).max().unwrap_or(0);
    let decimals = fitting.min(needed.max(1));
    values.iter().map(|value| value.map_or("—".to_string(), |value| one(value, decimals, exponents))).collect()
}

fn one(value: f64, decimals: usize, exponents: bool) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_string();
    }
    if value == 0.0 {
        return if exponents { "0".to_string() } else { format!("{:.decimals$}", 0.0) };
    }
    if exponents {
        return format!("{value:.3e}");
    }
    match value.abs() < 0.5 * 10f64.powi(-(decimals as i32)) {
        true => format!("{value:.1e}"),
        false => format!("{value:.decimals$}"),
    }
}

/// Decimals that are not trailing zeros, of at most `most`.
fn decimals_of(value: f64, most: usize) -> usize {
    let text = format!("{value:.most$}");
    text.split_once('.').map_or(0, |(_, digits)| digits.trim_end_matches('0').len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(values: &[f64]) -> Vec<String> {
        column(&values.iter().map(|&value| Some(value)).collect::<Vec<_>>())
    }

    #[test]
    fn a_column_has_one_format() {
        assert_eq!(format(&[0.123456789012345, -12.3]), ["0.12", "-12.30"]);
        assert_eq!(format(&[0.1f32 as f64, 0.25]), ["0.10", "0.25"]);
        assert_eq!(format(&[3.0, 20.0]), ["3.0", "20.0"]);
        assert_eq!(format(&[123456.7, 1.0]), ["123457", "1"]);
        assert_eq!(format(&[0.0, 0.0]), ["0.0", "0.0"]);
    }

    #[test]
    fn tiny_and_huge_numbers_keep_their_digits() {
        assert_eq!(format(&[0.5, 1.234e-12]), ["0.5", "1.2e-12"]);
        assert_eq!(format(&[-1.23456e-9, 0.0]), ["-1.235e-9", "0"]);
        assert_eq!(format(&[1.5e12]), ["1.500e12"]);
    }

    #[test]
    fn missing_and_odd_values_have_signs_of_their_own() {
        let values = [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(1.5)];
        assert_eq!(column(&values), ["—", "NaN", "∞", "-∞", "1.5"]);
    }

    #[test]
    fn a_short_number_has_no_trailing_zeros() {
        assert_eq!([short(1.0), short(-0.25), short(1234.56), short(0.0)], ["1", "-0.25", "1235", "0"]);
        assert_eq!(drawn(-2.5e-7), "−2.5e−7");
    }
}
