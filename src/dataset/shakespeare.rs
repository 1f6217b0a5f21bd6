//! Tiny Shakespeare: 1.1 MB of plays, character by character.
//!
//! * **What**: 1,115,394 characters of 65 kinds. The first nine tenths are for training (1,003,854 characters, 3,921 blocks of 256), the rest
//!   for validation (111,540 and 435), as in nanoGPT and dattri's benchmark.
//! * **Shapes**: inputs and targets `[n, 256]` int64, ids in the order of the characters' code points; a target is the character after its
//!   input. The columns `text` and `start` say what a block reads and where it begins.
//! * **Source**: Karpathy, char-rnn; one file `input.txt`, checked by sha256, in the folder `tinyshakespeare` of the folder that the
//!   environment variable `ASCRIBE_DATA` names, else of the user's cache. Its publisher offers it over https alone, for which no library is
//!   built in: it is not downloaded, the error says where to put it.
//! * **Licence**: public domain.
//! * **Errors**: [`Error::Data`](crate::Error::Data) if the file is not there or not the published one.

use std::path::Path;

use super::Dataset;
use super::download::{self, Folder};
use super::text::{Blocks, Vocabulary};
use crate::error::{Error, Result};

const SHA256: &str = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed";

/// Tiny Shakespeare as (train, validation): 3,921 and 435 blocks of 256 characters, each with the next character as target.
///
/// ```no_run
/// let (train, validation) = ascribe::dataset::tiny_shakespeare()?;
/// assert_eq!((train.len(), validation.len()), (3_921, 435));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn tiny_shakespeare() -> Result<(Dataset, Dataset)> {
    let path = download::fetch(&[], SHA256, &Folder::of("tinyshakespeare")?, "input.txt", &mut |_, _| ())?;
    parts(&path)
}

fn parts(path: &Path) -> Result<(Dataset, Dataset)> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let vocabulary = Vocabulary::characters(&text);
    let train = text.len() * 9 / 10; // every character is one byte
    let part = |text: &str, name: &str| vocabulary.dataset(text, &Blocks::default()).map(|data| data.named(name));
    Ok((part(&text[..train], "tiny-shakespeare-train")?, part(&text[train..], "tiny-shakespeare-validation")?))
}
