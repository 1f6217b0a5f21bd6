//! UCI digits: 8 x 8 images of handwritten digits, embedded in the crate.
//!
//! * **What**: 1,797 scans of the digits 0 to 9 by 13 writers, grey values 0 to 16.
//! * **Shapes**: inputs `[1797, 64]` f32 in [0, 1]; targets `[1797]` int64. `reshape(&[1, 8, 8])` makes images for a CNN.
//! * **Source**: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI repository), test part, as in
//!   scikit-learn. Neither network nor path is needed.
//! * **Licence**: CC BY 4.0 (see `data/README.md`).

use std::io::Read;

use flate2::read::GzDecoder;
use tch::{Kind, Tensor};

use super::Dataset;
use crate::error::{Error, Result};

const FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");
const PIXELS: usize = 64;
const BRIGHTEST: u8 = 16;
pub(super) const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The 1,797 UCI digits: inputs `[1797, 64]` in [0, 1], labels 0 to 9.
///
/// ```
/// let digits = ascribe::dataset::digits()?;
/// assert_eq!(digits.inputs().size(), [1797, 64]);
/// assert_eq!(digits.labels().map(|labels| labels[..3].to_vec()), Some(vec![0, 1, 2]));
/// assert_eq!(digits.reshape(&[1, 8, 8])?.inputs().size(), [1797, 1, 8, 8]);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn digits() -> Result<Dataset> {
    let mut text = String::new();
    GzDecoder::new(FILE).read_to_string(&mut text).map_err(|error| Error::data("digits", error.to_string()))?;
    let (pixels, labels) = parse(&text)?;
    let inputs = Tensor::f_from_slice(&pixels)?.f_view([labels.len() as i64, PIXELS as i64])?;
    let inputs = inputs.f_to_kind(Kind::Float)?.f_div_scalar(f64::from(BRIGHTEST))?; // [n, 64]
    Ok(Dataset::new(inputs, Tensor::f_from_slice(&labels)?)?.named("digits").with_class_names(&CLASSES))
}

/// Pixels, row after row, and labels of lines `p1,…,p64,label`.
fn parse(text: &str) -> Result<(Vec<u8>, Vec<i64>)> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let values: Vec<u8> = line.split(',').map_while(|value| value.parse().ok()).collect();
        match values.split_last() {
            Some((&label, row)) if row.len() == PIXELS && label < 10 && row.iter().all(|&p| p <= BRIGHTEST) => {
                pixels.extend_from_slice(row);
                labels.push(i64::from(label));
            }
            _ => {
                let expected = format!("{PIXELS} pixels of 0 to {BRIGHTEST} and a digit, separated by commas");
                return Err(Error::data("digits", format!("line {}: expected {expected}, got {line:?}", at + 1)));
            }
        }
    }
    Ok((pixels, labels))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_damaged_line_is_named() {
        let good = format!("{}7", "0,".repeat(64));
        assert_eq!(parse(&good).unwrap().1, [7]);
        for bad in [&good[2..], &format!("0,{good}"), &format!("17{}", &good[1..]), &format!("{good}1"), "x", ""] {
            let error = parse(&format!("{good}\n{bad}\n")).unwrap_err().to_string();
            assert!(error.starts_with("data digits: line 2: expected 64 pixels"), "{error}");
        }
    }
}
