//! Files that the papers and the other libraries wrote, read as data: nothing in a file is ever executed.
//!
//! | function | file | gives |
//! |---|---|---|
//! | [`npy`], [`npz`] | NumPy arrays, also traker's `.mmap` | tensors |
//! | [`raw`], [`d_trak`], [`gen_latents`] | memory maps without a header, D-TRAK's `.npy` among them | tensors |
//! | [`pickle`], [`torch`] | pickles of numbers, lists and arrays; `torch.save` | [`Value`] |
//! | [`state_dict`], [`state_dict_at`] | `.pt`, `.pth` | named tensors, also through [`Checkpoint::load`](crate::checkpoint::Checkpoint::load) |
//! | [`safetensors()`] | safetensors | named tensors, also through `Checkpoint::load` |
//! | [`image()`], [`midi()`] | PNG and JPEG; MIDI | pixels; [`Midi`] |
//! | [`traker`] | the `save_dir` of TRAK's library | [`Traker`] |
//! | [`dattri_retraining`] | networks retrained on subsets by dattri | [`DattriRetraining`] |
//! | [`simple_top_k`] | nearest train examples of the Simple baseline | [`TopK`] |
//! | [`d_trak_losses`], [`d_trak_scores`] | D-TRAK's pickles | tensors |
//! | [`bayesian_scores`] | CSV of the Bayesian study | [`ScoreTable`] |
//! | [`indices`] | index pickles, `.npy`, one number a line | `Vec<i64>` |
//!
//! A file that is cut off, lies about its sizes or asks for code gives one line that names it. Sizes are compared with the
//! length of the file before memory is taken for them.
//!
//! ```
//! use ascribe::prelude::*;
//! let file = std::env::temp_dir().join(format!("ascribe-doc-read-{}.npy", std::process::id()));
//! Tensor::from_slice(&[1.0f32, 2.0, 3.0]).write_npy(&file)?;
//! let values = ascribe::read::npy(&file)?;
//! assert_eq!(values.size(), [3]);
//! let refused = ascribe::read::raw(&file, &[3], ascribe::tch::Kind::Float);
//! assert!(format!("{:?}", refused.unwrap_err()).contains("has an NPY header"));
//! # std::fs::remove_file(&file).ok();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bayesian;
mod broken;
#[doc(hidden)]
pub mod bytes;
mod d_trak;
mod dattri;
mod element;
mod header;
mod image;
mod midi;
mod npy;
mod pickle;
mod raw;
mod safetensors;
mod simple;
mod source;
mod state_dict;
mod torch;
mod traker;
mod value;
mod weights;
mod zip;

pub use bayesian::{ScoreTable, bayesian_scores};
pub use d_trak::{ProjectedGradients, d_trak, d_trak_losses, d_trak_scores, gen_latents};
pub use dattri::{DattriRetraining, dattri_retraining};
pub use image::image;
pub(crate) use image::{Picture, picture};
pub use midi::{Midi, Note, Part, midi};
pub use npy::{npy, npz};
pub use pickle::{indices, pickle};
pub use raw::raw;
pub use safetensors::safetensors;
pub use simple::{TopK, simple_top_k};
use source::is_zip;
pub use state_dict::{state_dict, state_dict_at};
pub use torch::torch;
pub use traker::{Traker, TrakerExperiment, TrakerModel, traker};
pub use value::Value;
pub(crate) use weights::weights;
