//! The masks as the lasso reads them: centred columns, and inner products of two columns by counting.

use tch::{Kind, Tensor};

use crate::error::Result;

/// Bits of a word.
const WORD: usize = 64;

/// Masks of `subsets × n`, as if centred.
pub(super) struct Design {
    pub(super) mean: Vec<f64>,
    pub(super) subsets: usize,
    pub(super) n: usize,
    /// Column by column: which subsets hold the example.
    bits: Vec<u64>,
    words: usize,
    counts: Vec<f64>,
}

impl Design {
    /// From masks of zeros and ones, float64.
    pub(super) fn new(masks: &Tensor) -> Result<Design> {
        let (subsets, n) = (masks.size()[0] as usize, masks.size()[1] as usize);
        let inside = Vec::<f64>::try_from(&masks.transpose(0, 1).contiguous().view([-1]))?; // [n, subsets]
        let words = subsets.div_ceil(WORD);
        let mut bits = vec![0u64; n * words];
        for (column, words) in inside.chunks(subsets).zip(bits.chunks_mut(words)) {
            for (some, word) in column.chunks(WORD).zip(words) {
                *word = some.iter().rev().fold(0, |word, inside| word << 1 | u64::from(*inside != 0.0));
            }
        }
        let counts = bits.chunks(words).map(|column| column.iter().map(|word| f64::from(word.count_ones())).sum());
        let counts: Vec<f64> = counts.collect();
        let mean = counts.iter().map(|count| count / subsets as f64).collect();
        Ok(Design { mean, subsets, n, bits, words, counts })
    }

    fn column(&self, j: usize) -> &[u64] {
        &self.bits[j * self.words..(j + 1) * self.words]
    }

    /// `⟨x_j, x_k⟩ / subsets` of centred columns.
    pub(super) fn product(&self, j: usize, k: usize) -> f64 {
        let both: u32 = self.column(j).iter().zip(self.column(k)).map(|(a, b)| (a & b).count_ones()).sum();
        let s = self.subsets as f64;
        (f64::from(both) - self.counts[j] * self.counts[k] / s) / s
    }

    /// Adds `weight` times the centred column to `target`.
    pub(super) fn add(&self, j: usize, weight: f64, target: &mut [f64]) {
        let shift = weight * self.mean[j];
        for (some, word) in target.chunks_mut(WORD).zip(self.column(j)) {
            for (bit, value) in some.iter_mut().enumerate() {
                *value += if word >> bit & 1 == 1 { weight - shift } else { -shift };
            }
        }
    }
}

/// Rows of a matrix, float64.
pub(super) fn rows(matrix: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(&matrix.to_kind(Kind::Double).contiguous().view([-1]))?)
}
