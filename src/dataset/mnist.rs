//! MNIST: 28 x 28 images of handwritten digits.
//!
//! * **What**: 60,000 training and 10,000 test images of the digits 0 to 9, in the publisher's order.
//! * **Shapes**: inputs `[n, 1, 28, 28]` f32, pixels in [0, 1] less 0.1307, divided by 0.3081 (mean and standard deviation of
//!   the training pixels); targets `[n]` int64. `reshape(&[784])` flattens; the models of this crate do so themselves.
//! * **Source**: LeCun, Cortes and Burges, The MNIST database of handwritten digits; four `idx.gz` files, 12 MB. They are
//!   looked for in the folder `mnist` of the folder that the environment variable `ASCRIBE_DATA` names, else in the user's
//!   cache (`$XDG_CACHE_HOME` or `~/.cache`, then `ascribe/data/mnist`), and downloaded there if missing.
//! * **Licence**: none stated by the authors; in customary use for research.
//! * **Errors**: [`Error::Data`](crate::Error::Data) if no mirror delivers or a file is not the published one (checked by
//!   sha256 at each load), [`Error::Io`](crate::Error::Io) if the folder cannot be written.

use super::Dataset;
use super::digits::CLASSES;
use super::idx::Source;
use crate::error::Result;

pub(crate) const MNIST: Source = Source {
    name: "mnist",
    mirrors: &["http://ossci-datasets.s3.amazonaws.com/mnist", "http://storage.googleapis.com/cvdf-datasets/mnist"],
    sha256: [
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ],
    mean: 0.1307,
    deviation: 0.3081,
    classes: CLASSES,
};

/// MNIST as (train, test): 60,000 and 10,000 images `[n, 1, 28, 28]`, normalised, with labels 0 to 9.
///
/// ```no_run
/// let (train, test) = ascribe::dataset::mnist()?;
/// assert_eq!(train.inputs().size(), [60_000, 1, 28, 28]);
/// assert_eq!(test.len(), 10_000);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn mnist() -> Result<(Dataset, Dataset)> {
    MNIST.load()
}
