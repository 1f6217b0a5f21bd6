//! Several networks of one architecture, side by side.

use tch::{Tensor, nn};

use super::layer::ConvOptions;

/// Weights of several networks of one architecture, for batches that lie one behind the other: `[networks * n, ...]`.
pub(crate) struct Stack {
    /// How many networks.
    pub networks: i64,
    /// A parameter of the network whose forward pass is run, and those of all networks in its place, `[networks, ...]`.
    pub parameters: Vec<(Tensor, Tensor)>,
}

impl Stack {
    fn of(&self, parameter: &Tensor) -> Option<&Tensor> {
        let place = parameter.data_ptr();
        self.parameters.iter().find(|(own, _)| own.data_ptr() == place).map(|(_, all)| all)
    }

    /// `s = a Wᵀ + b` of each network on its own rows; `None` if the layer is not of this network.
    pub(super) fn linear(&self, layer: &nn::Linear, x: &Tensor) -> Option<Tensor> {
        let weight = self.of(&layer.ws)?; // [networks, out, in]
        let a = x.reshape([self.networks, -1, weight.size()[2]]).transpose(1, 2);
        // In this order of factors the weights' gradient comes out in their own layout, and three times as fast for few outputs.
        let s = match &layer.bs {
            Some(bias) => self.of(bias)?.unsqueeze(2).baddbmm(weight, &a, 1.0, 1.0),
            None => weight.bmm(&a),
        };
        let mut size = x.size();
        *size.last_mut()? = weight.size()[1];
        Some(s.transpose(1, 2).reshape(size.as_slice()))
    }

    /// The convolution of each network on its own images, as groups of one convolution of `[n, networks · in, h, w]`; `None` as above.
    pub(super) fn convolution(&self, weight: &Tensor, bias: Option<&Tensor>, o: ConvOptions, x: &Tensor) -> Option<Tensor> {
        let weight = self.of(weight)?.flatten(0, 1); // [networks · out, in / groups, kernel, kernel]
        let weight = if weight.dim() == 3 { weight.unsqueeze(2) } else { weight }; // along a sequence
        let bias = bias.map(|bias| Some(self.of(bias)?.flatten(0, 1)));
        if let Some(None) = bias {
            return None;
        }
        let [n, inputs, high, wide] = x.size()[..] else { return None };
        let n = n / self.networks;
        // Channels last, in memory as well: a third less time than with the images' rows last.
        let x = x.permute([0, 2, 3, 1]).reshape([self.networks, n, high, wide, inputs]);
        let x = x.permute([1, 2, 3, 0, 4]).reshape([n, high, wide, -1]).permute([0, 3, 1, 2]);
        let s = x.conv2d(&weight, bias.flatten(), o.stride, o.padding, o.dilation, o.groups * self.networks);
        let [_, outputs, high, wide] = s.size()[..] else { return None };
        let s = s.permute([0, 2, 3, 1]).reshape([n, high, wide, self.networks, outputs / self.networks]);
        let s = s.permute([3, 0, 1, 2, 4]).reshape([n * self.networks, high, wide, -1]);
        Some(s.permute([0, 3, 1, 2]))
    }
}
