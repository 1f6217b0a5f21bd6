use tch::{Kind, Tensor};

use super::Measurement;
use crate::dataset::Dataset;
use crate::digest;
use crate::error::{Error, Result, guarded};
use crate::random::{self, Purpose};
use crate::snapshot::Snapshot;

/// How much better a pair fits together than with others, for models like CLIP: the output of TRAK (Park et al. 2023,
/// arXiv 2303.14186).
///
/// Outputs are `[n, 2, d]`: the two embeddings u and v of each example (image and text), of length one. With stored embeddings U
/// and V of `count` pairs, a simulated batch,
///
/// ```text
/// f = −log Σ_b exp(u·V_b − u·v) − log Σ_b exp(v·U_b − v·u)
/// ```
///
/// Targets are not looked at. The residual is `1 − ½(p + p')`, with p the probability of v among itself and V for u, at the logit
/// scale: the slope of `log p + log p'` in f where the scale is 1.
///
/// ```
/// use ascribe::prelude::*;
/// let (u, v) = ([1.0f32, 0.0], [0.6f32, 0.8]);
/// let pair = Tensor::from_slice(&[u, v].concat()).view([1, 2, 2]);
/// let contrastive = Contrastive::new(&Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0]).view([1, 2, 2]), 1.0)?;
/// // u·v = 0.6 beside u·V = 1; v·u = 0.6 beside v·U = 0.8.
/// let value = contrastive.measure(&pair, &Tensor::from_slice(&[0i64])).double_value(&[0]);
/// assert!((value - ((0.6 - 1.0) + (0.6 - 0.8))).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Contrastive {
    /// U, then V, row by row.
    stored: [Vec<f32>; 2],
    width: i64,
    /// Of their numbers.
    digest: String,
    logit_scale: f64,
}

impl Contrastive {
    /// From stored pairs `[count, 2, d]` and the scale of the model's logits.
    ///
    /// Errors: [`Error::Shape`], or [`Error::Data`] for embeddings that are not of length one; [`Error::Option`] for the scale.
    pub fn new(pairs: &Tensor, logit_scale: f64) -> Result<Contrastive> {
        check_scale(logit_scale)?;
        guarded(|| {
            check_pairs("stored pairs", pairs)?;
            let side = |at: i64| Vec::<f32>::try_from(pairs.detach().select(1, at).reshape([-1]).to_kind(Kind::Float));
            let stored = [side(0)?, side(1)?];
            let bits: Vec<u32> = stored.iter().flatten().map(|number| number.to_bits()).collect();
            let digest = digest::of_ids(&bits)[..8].to_string();
            Ok(Contrastive { stored, width: pairs.size()[2], digest, logit_scale })
        })
    }

    /// From `count` examples of a dataset, each as likely as any other and drawn once, as one checkpoint embeds them; the logit
    /// scale is 1.
    ///
    /// An example of the simulated batch meets itself there too, as in TRAK.
    ///
    /// Errors: as [`Contrastive::new`]; [`Error::Data`] unless `count` is between 1 and the number of examples.
    pub fn fit(snapshot: &Snapshot, data: &Dataset, count: usize, seed: u64) -> Result<Contrastive> {
        if count == 0 || count > data.len() {
            let reason = format!("expected 1 to {} stored embeddings (its examples), got {count}", data.len());
            return Err(Error::data(data.name(), reason));
        }
        let drawn = random::sample(data.len(), count, seed, Purpose::Negatives, 0);
        Contrastive::new(&snapshot.outputs(&data.select(&drawn)?)?, 1.0)
    }

    /// The same with another scale of the logits: what the model divides by its temperature with.
    ///
    /// Errors: [`Error::Option`] unless it is positive.
    pub fn with_logit_scale(self, logit_scale: f64) -> Result<Contrastive> {
        check_scale(logit_scale)?;
        Ok(Contrastive { logit_scale, ..self })
    }

    /// How much the others outweigh the pair, from either side: `log Σ_b exp(scale (u·V_b − u·v))` and that of v, each `[n]`.
    fn others(&self, outputs: &Tensor, scale: f64) -> [Tensor; 2] {
        let (u, v) = (outputs.select(1, 0), outputs.select(1, 1));
        let own = (&u * &v).sum_dim_intlist([1i64].as_slice(), true, None::<Kind>); // [n, 1]
        let stored = |at: usize| Tensor::from_slice(&self.stored[at]).view([-1, self.width]).to_kind(outputs.kind());
        let outweigh = |x: &Tensor, at: usize| ((x.matmul(&stored(at).transpose(0, 1)) - &own) * scale).logsumexp([1i64], false);
        [outweigh(&u, 1), outweigh(&v, 0)]
    }
}

impl Measurement for Contrastive {
    fn measure(&self, outputs: &Tensor, _: &Tensor) -> Tensor {
        let [from_u, from_v] = self.others(outputs, 1.0);
        -(from_u + from_v)
    }

    /// `1 − p` is a logistic function of how much the others outweigh the pair: it keeps its digits where p rounds to 1.
    fn residual(&self, outputs: &Tensor, _: &Tensor) -> Option<Tensor> {
        let [from_u, from_v] = self.others(&outputs.detach(), self.logit_scale);
        Some((from_u.sigmoid() + from_v.sigmoid()) / 2.0)
    }

    fn name(&self) -> String {
        let count = self.stored[0].len() as i64 / self.width.max(1);
        format!("contrastive margin against {count} pairs ({}), logit scale {}", self.digest, self.logit_scale)
    }

    fn check(&self, outputs: &Tensor, _: &Tensor) -> Result<()> {
        check_pairs("outputs", outputs)?;
        match outputs.size()[2] == self.width {
            true => Ok(()),
            false => {
                Err(Error::shape("outputs", format!("embeddings of {} numbers, as the stored", self.width), outputs.size()[2]))
            }
        }
    }
}

/// `[n, 2, d]`, each of length one.
fn check_pairs(name: &str, pairs: &Tensor) -> Result<()> {
    let size = pairs.size();
    if size.len() != 3 || size[1] != 2 || !pairs.is_floating_point() {
        return Err(Error::shape(name, "two embeddings per example, [n, 2, d]", format!("{size:?} of {:?}", pairs.kind())));
    }
    let lengths = pairs.linalg_norm(2.0, [2i64].as_slice(), false, Kind::Double);
    let (least, most) = (lengths.min().double_value(&[]), lengths.max().double_value(&[]));
    match (least - 1.0).abs() < 1e-3 && (most - 1.0).abs() < 1e-3 {
        true => Ok(()),
        false => Err(Error::data(name, format!("expected embeddings of length 1, got lengths {least:.3} to {most:.3}"))),
    }
}

fn check_scale(logit_scale: f64) -> Result<()> {
    match logit_scale > 0.0 && logit_scale.is_finite() {
        true => Ok(()),
        false => Err(Error::option("Contrastive.logit_scale", "a positive number", logit_scale)),
    }
}
