use tch::{Device, Kind, Tensor};

use crate::model::Tape;

/// From how many numbers on oneDNN's kernel is the faster one.
const MANY: usize = 1 << 16;

impl Tape {
    /// The largest of each square of `side` by `side`, `[n, c, h, w] → [n, c, h / side, w / side]`; what does not fill a square is left out.
    ///
    /// The same as `max_pool2d` of the tensor. While training, large batches go through a kernel of oneDNN, which is three times as fast and
    /// has no second derivative.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let image = Tensor::from_slice(&[1f32, 4.0, 2.0, 3.0]).view([1, 1, 2, 2]);
    /// assert_eq!(Tape::off().max_pool(2, &image).double_value(&[0, 0, 0, 0]), 4.0);
    /// ```
    pub fn max_pool(&mut self, side: i64, x: &Tensor) -> Tensor {
        let plain = x.device() == Device::Cpu && x.kind() == Kind::Float && x.is_contiguous();
        if self.is_training() && plain && x.numel() >= MANY && tch::utils::has_mkldnn() {
            return x.to_mkldnn().mkldnn_max_pool2d([side; 2], [side; 2], [0, 0], [1, 1], false).to_dense(None, false);
        }
        x.max_pool2d([side; 2], [side; 2], [0, 0], [1, 1], false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel that training uses for many numbers gives the values and gradients of the plain one, also where numbers are equal.
    #[test]
    fn training_pools_like_anything_else() {
        for (side, shape) in [(2i64, [3, 7, 60, 61]), (3, [3, 7, 60, 61]), (2, [1, 2, 5, 4])] {
            let x = (Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 12.9898).sin() * 8.0;
            let x = x.floor().to_kind(Kind::Float).view(shape).set_requires_grad(true);
            let pooled = |mut tape: Tape| {
                let pooled = tape.max_pool(side, &x);
                let weights = Tensor::arange(pooled.numel() as i64, (Kind::Float, Device::Cpu)).view(pooled.size().as_slice());
                let gradient = Tensor::run_backward(&[(&pooled * weights).sum(None::<Kind>)], &[&x], false, false).remove(0);
                (pooled, gradient)
            };
            let ((values, slopes), (expected, expected_slopes)) =
                (pooled(Tape::training([0].into(), 0, None)), pooled(Tape::off()));
            assert_eq!(expected.size(), [shape[0], shape[1], shape[2] / side, shape[3] / side]);
            assert!(values.equal(&expected) && slopes.equal(&expected_slopes), "{side}, {shape:?}");
        }
    }
}
