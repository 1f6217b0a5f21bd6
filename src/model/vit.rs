use std::borrow::Borrow;

use tch::nn::{self, Init};
use tch::{Kind, Tensor, no_grad};

use super::layer::{self, Conv2d, ConvOptions, LayerNorm};
use super::{Model, Tape};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, raise};

/// The vision transformer ViT-B/16 (Dosovitskiy et al. 2021, arXiv 2010.11929) with a classifier, under the names of Hugging Face's
/// `ViTForImageClassification` and its public weights, such as `google/vit-base-patch16-224-in21k`:
/// `vit.encoder.layer.0.attention.attention.query.weight` and so on, `classifier`.
///
/// With [`Lora`], queries and values get adapters under PEFT's names, `….query.lora_A.weight`, and only these and the classifier are
/// trained and attributed to: 597,514 parameters for ten classes. Without, all are; then the class token and the table of places, which
/// no layer of the tape holds, cost a loop over examples.
///
/// Pretrained weights: [`Vit::checkpoint`] makes one checkpoint of the files of base and adapters; [`Vit::with_base`] begins training with
/// those of the base.
///
/// ```
/// use ascribe::model::Lora;
/// use ascribe::prelude::*;
/// let tiny = VitOptions { image: 16, patch: 8, width: 8, heads: 2, layers: 1, hidden: 16, classes: 3, lora: Some(Lora { rank: 2, ..default() }) };
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let vit = Vit::new(store.root(), tiny);
/// assert_eq!(vit.forward(&Tensor::from_slice(&[0.5f32; 768]).view([1, 3, 16, 16]), &mut Tape::off()).size(), [1, 3]);
/// let trained = store.trainable_variables().into_iter().filter(Tensor::requires_grad);
/// assert_eq!(trained.map(|t| t.numel()).sum::<usize>(), 2 * 2 * (8 + 8) + 8 * 3 + 3);
/// ```
#[derive(Debug)]
pub struct Vit {
    class: Tensor,
    places: Tensor,
    patches: Conv2d,
    blocks: Vec<Block>,
    norm: LayerNorm,
    classifier: nn::Linear,
    /// Every tensor by name.
    named: Vec<(String, Tensor)>,
}

/// The size of a [`Vit`]: `85,798,656 + 769 · classes` parameters by default, and 589,824 in adapters.
#[derive(Clone, Copy, Debug)]
pub struct VitOptions {
    /// Height and width of the images, a multiple of the patches'.
    pub image: i64,
    /// Height and width of a patch.
    pub patch: i64,
    /// Numbers that describe a patch.
    pub width: i64,
    /// Heads of each attention, a divisor of the width.
    pub heads: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Width inside the perceptron of a block.
    pub hidden: i64,
    /// Number of outputs.
    pub classes: i64,
    /// Adapters on queries and values, everything before the classifier being frozen; `None` trains all.
    pub lora: Option<Lora>,
}

impl Default for VitOptions {
    /// ViT-B/16 for ten classes with the adapters of Nguyen, Seo and Oh (2023, arXiv 2305.19765).
    fn default() -> VitOptions {
        let lora = Some(Lora::default());
        VitOptions { image: 224, patch: 16, width: 768, heads: 12, layers: 12, hidden: 3072, classes: 10, lora }
    }
}

/// Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): a linear layer plus `α / rank · B A x`.
#[derive(Clone, Copy, Debug)]
pub struct Lora {
    /// Rows of A, columns of B.
    pub rank: i64,
    /// Scale α.
    pub alpha: f64,
    /// Share of the adapter's input that training drops.
    pub dropout: f64,
}

impl Default for Lora {
    fn default() -> Lora {
        Lora { rank: 16, alpha: 16.0, dropout: 0.1 }
    }
}

/// A linear layer with or without an adapter.
#[derive(Debug)]
struct Adapted {
    name: String,
    base: nn::Linear,
    adapter: Option<(nn::Linear, nn::Linear, Lora)>,
}

#[derive(Debug)]
struct Block {
    name: String,
    before: LayerNorm,
    query: Adapted,
    key: Adapted,
    value: Adapted,
    out: nn::Linear,
    after: LayerNorm,
    expand: nn::Linear,
    shrink: nn::Linear,
    heads: i64,
}

impl Vit {
    /// Takes images `[n, 3, image, image]`, normalised as for the base, to `[n, classes]`.
    ///
    /// Errors, at the border: [`Error::Option`] for sizes that do not fit, [`Error::Shape`] for other images.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, options: VitOptions) -> Vit {
        options.check();
        let (path, VitOptions { image, patch, width, classes, lora, .. }) = (path.borrow(), options);
        let (vit, mut named) = (path / "vit", Vec::new());
        let embeddings = &vit / "embeddings";
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        let class = embeddings.var("cls_token", &[1, 1, width], small);
        let places = embeddings.var("position_embeddings", &[1, (image / patch).pow(2) + 1, width], small);
        named.push(("vit.embeddings.cls_token".into(), class.shallow_clone()));
        named.push(("vit.embeddings.position_embeddings".into(), places.shallow_clone()));
        let stride = ConvOptions { stride: [patch; 2], ..ConvOptions::default() };
        let patches = layer::conv2d(&embeddings / "patch_embeddings" / "projection", 3, width, patch, stride);
        keep(&mut named, "vit.embeddings.patch_embeddings.projection", &patches.weight, patches.bias.as_ref());
        let blocks = (0..options.layers).map(|i| Block::new(&(&vit / "encoder" / "layer" / i), i, options, &mut named)).collect();
        let norm = normed(&(&vit / "layernorm"), width);
        keep(&mut named, "vit.layernorm", &norm.weight, norm.bias.as_ref());
        if lora.is_some() {
            named
                .iter()
                .filter(|(name, _)| !name.contains(".lora_"))
                .for_each(|(_, tensor)| drop(tensor.set_requires_grad(false)));
        }
        let head = nn::LinearConfig { ws_init: small, bs_init: Some(Init::Const(0.0)), bias: true };
        let classifier = nn::linear(path / "classifier", width, classes, head);
        keep(&mut named, "classifier", &classifier.ws, classifier.bs.as_ref());
        Vit { class, places, patches, blocks, norm, classifier, named }
    }

    /// The same network with the weights of a public file where it has them, to train from: adapters, and the classifier if the file has
    /// another, stay fresh.
    ///
    /// ```no_run
    /// use ascribe::prelude::*;
    /// let task = Task::new(|p: &nn::Path| {
    ///     let base = Checkpoint::load("model.safetensors").expect("the public weights");
    ///     Vit::new(p, VitOptions::default()).with_base(&base)
    /// });
    /// ```
    ///
    /// Errors, at the border: [`Error::Checkpoint`] naming a weight before the classifier that is missing or has another shape.
    pub fn with_base(self, base: &Checkpoint) -> Vit {
        let base = Vit::checkpoint(base, None);
        for (name, tensor) in &self.named {
            match base.tensor(name) {
                Some(stored) if stored.size() == tensor.size() => no_grad(|| tensor.shallow_clone().copy_(stored)),
                _ if name.starts_with("classifier.") || name.contains(".lora_") => {}
                Some(stored) => {
                    let reason = format!("{name} expected {:?}, got {:?}", tensor.size(), stored.size());
                    raise(Error::checkpoint("base of the ViT", reason))
                }
                None => raise(Error::checkpoint("base of the ViT", format!("{name} is missing"))),
            }
        }
        self
    }

    /// One checkpoint under this network's names, of the public weights and of adapters that PEFT saved (`adapter_model.safetensors`, or
    /// the whole model's state dict). Where both have a weight the adapters' file wins; the pooler, which classifies nothing, is left out.
    pub fn checkpoint(base: &Checkpoint, adapters: Option<&Checkpoint>) -> Checkpoint {
        let mut all: Vec<(String, Tensor)> = Vec::new();
        for (name, tensor) in adapters.into_iter().chain([base]).flat_map(Checkpoint::tensors) {
            if let Some(name) = renamed(name).filter(|name| !all.iter().any(|(known, _)| known == name)) {
                all.push((name, tensor.shallow_clone()));
            }
        }
        let last = adapters.unwrap_or(base);
        Checkpoint::new(last.run, last.step, last.learning_rate, all)
    }
}

impl VitOptions {
    fn check(&self) {
        let sizes = [("image", self.image), ("patch", self.patch), ("hidden", self.hidden), ("classes", self.classes)];
        for (name, size) in sizes.into_iter().chain([("width", self.width), ("lora.rank", self.lora.map_or(1, |lora| lora.rank))])
        {
            if size < 1 {
                raise(Error::option(format!("VitOptions.{name}"), "at least 1", size));
            }
        }
        if self.image % self.patch != 0 {
            raise(Error::option("VitOptions.image", format!("a multiple of the patches' {}", self.patch), self.image));
        }
        if self.heads < 1 || self.width % self.heads != 0 {
            raise(Error::option("VitOptions.heads", format!("a divisor of the width {}", self.width), self.heads));
        }
        if let Some(p) = self.lora.map(|lora| lora.dropout).filter(|p| !(0.0..1.0).contains(p)) {
            raise(Error::option("VitOptions.lora.dropout", "at least 0 and below 1", p));
        }
    }
}

/// Names that version 5 of transformers has in memory, and PEFT in the files it writes beside it, and those of the public weights.
const SINCE_VERSION_5: [(&str, &str); 7] = [
    ("vit.layers.", "vit.encoder.layer."),
    (".attention.q_proj.", ".attention.attention.query."),
    (".attention.k_proj.", ".attention.attention.key."),
    (".attention.v_proj.", ".attention.attention.value."),
    (".attention.o_proj.", ".attention.output.dense."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
];

/// The name here of a weight in a file of Hugging Face or PEFT; `None` for what this network does not have.
fn renamed(name: &str) -> Option<String> {
    let name = name.trim_start_matches("base_model.model.");
    if name.contains("pooler.") || name.contains("original_module.") {
        return None;
    }
    let name = name.replace(".base_layer.", ".").replace(".default.", ".").replace("modules_to_save.", "");
    let whole = name.starts_with("vit.") || name.starts_with("classifier.");
    let name = if whole { name } else { format!("vit.{name}") };
    Some(SINCE_VERSION_5.iter().fold(name, |name, (new, old)| name.replace(new, old)))
}

fn normed(path: &nn::Path, width: i64) -> LayerNorm {
    LayerNorm { epsilon: 1e-12, ..layer::layer_norm(path, &[width]) }
}

fn keep(named: &mut Vec<(String, Tensor)>, name: &str, weight: &Tensor, bias: Option<&Tensor>) {
    let parts = [("weight", Some(weight)), ("bias", bias)].into_iter();
    named.extend(parts.filter_map(|(part, tensor)| Some((format!("{name}.{part}"), tensor?.shallow_clone()))));
}

impl Adapted {
    fn new(path: &nn::Path, name: String, width: i64, lora: Option<Lora>, named: &mut Vec<(String, Tensor)>) -> Adapted {
        let base = layer::linear(path, width, width);
        keep(named, &name, &base.ws, base.bs.as_ref());
        let adapter = lora.map(|lora| {
            let down = layer::linear_with(&(path / "lora_A"), width, lora.rank, false);
            let zero = nn::LinearConfig { ws_init: Init::Const(0.0), bs_init: None, bias: false };
            let up = nn::linear(path / "lora_B", lora.rank, width, zero);
            keep(named, &format!("{name}.lora_A"), &down.ws, None);
            keep(named, &format!("{name}.lora_B"), &up.ws, None);
            (down, up, lora)
        });
        Adapted { name, base, adapter }
    }

    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let s = tape.linear(&self.name, &self.base, x);
        let Some((down, up, lora)) = &self.adapter else { return s };
        let low = tape.dropout(lora.dropout, x);
        let low = tape.linear(&format!("{}.lora_A", self.name), down, &low);
        s + tape.linear(&format!("{}.lora_B", self.name), up, &low) * (lora.alpha / lora.rank as f64)
    }
}

impl Block {
    fn new(path: &nn::Path, i: usize, options: VitOptions, named: &mut Vec<(String, Tensor)>) -> Block {
        let VitOptions { width, hidden, heads, lora, .. } = options;
        let name = format!("vit.encoder.layer.{i}");
        let before = normed(&(path / "layernorm_before"), width);
        let inner = path / "attention" / "attention";
        let mut adapted =
            |part: &str, lora| Adapted::new(&(&inner / part), format!("{name}.attention.attention.{part}"), width, lora, named);
        let (query, key, value) = (adapted("query", lora), adapted("key", None), adapted("value", lora));
        let out = layer::linear(path / "attention" / "output" / "dense", width, width);
        let after = normed(&(path / "layernorm_after"), width);
        let expand = layer::linear(path / "intermediate" / "dense", width, hidden);
        let shrink = layer::linear(path / "output" / "dense", hidden, width);
        for (part, norm) in [("layernorm_before", &before), ("layernorm_after", &after)] {
            keep(named, &format!("{name}.{part}"), &norm.weight, norm.bias.as_ref());
        }
        for (part, linear) in [("attention.output", &out), ("intermediate", &expand), ("output", &shrink)] {
            keep(named, &format!("{name}.{part}.dense"), &linear.ws, linear.bs.as_ref());
        }
        Block { name, before, query, key, value, out, after, expand, shrink, heads }
    }

    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let name = |part: &str| format!("{}.{part}", self.name);
        let normed = tape.layer_norm(&name("layernorm_before"), &self.before, x);
        let [n, t, _] = x.size()[..] else { unreachable!("made in this file") };
        let split = |x: Tensor| x.reshape([n, t, self.heads, -1]).transpose(1, 2); // [n, heads, t, d]
        let (q, k) = (split(self.query.forward(&normed, tape)), split(self.key.forward(&normed, tape)));
        let v = split(self.value.forward(&normed, tape));
        let weights = (q.matmul(&k.transpose(2, 3)) / (q.size()[3] as f64).sqrt()).softmax(-1, None::<Kind>);
        let mixed = weights.matmul(&v).transpose(1, 2).reshape([n, t, -1]);
        let x = x + tape.linear(&name("attention.output.dense"), &self.out, &mixed);
        let normed = tape.layer_norm(&name("layernorm_after"), &self.after, &x);
        let hidden = tape.linear(&name("intermediate.dense"), &self.expand, &normed).gelu("none");
        x + tape.linear(&name("output.dense"), &self.shrink, &hidden)
    }
}

impl Model for Vit {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let size = inputs.size();
        let [_, t, width] = self.places.size()[..] else { unreachable!("made in this file") };
        let [.., patch] = self.patches.weight.size()[..] else { unreachable!("made in this file") };
        let side = ((t - 1) as f64).sqrt().round() as i64 * patch;
        if size.len() != 4 || size[1..] != [3, side, side] {
            raise(Error::shape("inputs of Vit", format!("[n, 3, {side}, {side}]"), format!("{size:?}")));
        }
        let x = tape.conv2d("vit.embeddings.patch_embeddings.projection", &self.patches, inputs).flatten(2, -1).transpose(1, 2);
        let x = Tensor::cat(&[&self.class.expand([size[0], 1, width], false), &x], 1) + &self.places;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, tape));
        let x = tape.layer_norm("vit.layernorm", &self.norm, &x);
        tape.linear("classifier", &self.classifier, &x.select(1, 0))
    }
}
