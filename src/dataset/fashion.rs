//! Fashion-MNIST: 28 x 28 images of clothes, harder than MNIST and of the same form.
//!
//! * **What**: 60,000 training and 10,000 test images of ten kinds of article, in the publisher's order.
//! * **Shapes**: inputs `[n, 1, 28, 28]` f32, pixels in [0, 1] less 0.2860, divided by 0.3530 (mean and standard deviation of
//!   the training pixels); targets `[n]` int64. `reshape(&[784])` flattens; the models of this crate do so themselves.
//! * **Source**: Xiao, Rasul and Vollgraf, Fashion-MNIST (2017), by Zalando; four `idx.gz` files, 31 MB. They are looked for in
//!   the folder `fashion-mnist` of the folder that the environment variable `ASCRIBE_DATA` names, else in the user's cache
//!   (`$XDG_CACHE_HOME` or `~/.cache`, then `ascribe/data/fashion-mnist`), and downloaded there if missing.
//! * **Licence**: MIT.
//! * **Errors**: [`Error::Data`](crate::Error::Data) if no mirror delivers or a file is not the published one (checked by
//!   sha256 at each load), [`Error::Io`](crate::Error::Io) if the folder cannot be written.

use super::Dataset;
use super::idx::Source;
use crate::error::Result;

pub(crate) const FASHION_MNIST: Source = Source {
    name: "fashion-mnist",
    mirrors: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
    sha256: [
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ],
    mean: 0.2860,
    deviation: 0.3530,
    classes: ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
};

/// Fashion-MNIST as (train, test): 60,000 and 10,000 images `[n, 1, 28, 28]`, normalised, with labels 0 to 9.
///
/// ```no_run
/// let (train, _) = ascribe::dataset::fashion_mnist()?;
/// assert_eq!(train.inputs().size(), [60_000, 1, 28, 28]);
/// assert_eq!(train.class_name(9), "Ankle boot");
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn fashion_mnist() -> Result<(Dataset, Dataset)> {
    FASHION_MNIST.load()
}
