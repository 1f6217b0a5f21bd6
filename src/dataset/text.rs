//! Text and other long sequences of tokens, cut into blocks.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{NamedFrom, Series};
use tch::{Kind, Tensor};

use super::Dataset;
use crate::error::{Error, Result, guarded};
use crate::read;

/// How a long sequence of tokens becomes examples: whole blocks, one after the other; what is left at the end is dropped.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::dataset::Blocks;
/// let data = Blocks { length: 2, ..default() }.of(&[5, 6, 7, 8, 9])?;
/// assert_eq!(Vec::<i64>::try_from(data.inputs().flatten(0, 1))?, [5, 6, 7, 8]);
/// assert_eq!(Vec::<i64>::try_from(data.targets().flatten(0, 1))?, [6, 7, 8, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Tokens of a block.
    pub length: usize,
    /// Tokens from one block's beginning to the next; the length, unless given.
    pub stride: Option<usize>,
    /// Whether each target is the token after its input, so that a block needs one token more: for `LogLikelihood`. Without it targets are
    /// the inputs, as [`NextToken`](crate::measurement::NextToken) wants them.
    pub shifted: bool,
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks { length: 256, stride: None, shifted: true }
    }
}

impl Blocks {
    /// The blocks of a sequence: inputs and targets `[n, length]`, int64. The column `start` holds the position of a block's first token.
    ///
    /// Errors: [`Error::Option`] for a length or stride of 0, [`Error::Data`] for too few tokens or a negative one.
    pub fn of(&self, tokens: &[i64]) -> Result<Dataset> {
        let (data, starts) = self.dataset(&[tokens])?;
        data.with_column(Series::new("start".into(), starts[0].iter().map(|&at| at as u64).collect::<Vec<_>>()))
    }

    /// The blocks of several sequences, none reaching over an end; and where they begin, by sequence.
    pub(super) fn dataset(&self, sequences: &[&[i64]]) -> Result<(Dataset, Vec<Vec<usize>>)> {
        let starts: Vec<Vec<usize>> = sequences.iter().map(|tokens| self.starts(tokens.len())).collect::<Result<_>>()?;
        if starts.iter().all(Vec::is_empty) {
            let (most, needed) = (sequences.iter().map(|s| s.len()).max().unwrap_or(0), self.needed());
            return Err(Error::data("tokens", format!("expected at least {needed} in a row for one block, got {most}")));
        }
        let negative = sequences.iter().enumerate().find_map(|(s, tokens)| Some((s, tokens.iter().position(|t| *t < 0)?)));
        if let Some((sequence, at)) = negative {
            return Err(Error::data("tokens", format!("expected ids from 0, got {} at {at}", sequences[sequence][at])));
        }
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for (tokens, starts) in sequences.iter().zip(&starts) {
            for &start in starts {
                inputs.extend_from_slice(&tokens[start..start + self.length]);
                if self.shifted {
                    targets.extend_from_slice(&tokens[start + 1..start + 1 + self.length]);
                }
            }
        }
        let size = [starts.iter().map(Vec::len).sum::<usize>() as i64, self.length as i64];
        let inputs = Tensor::f_from_slice(&inputs)?.f_view(size)?;
        let targets = if self.shifted { Tensor::f_from_slice(&targets)?.f_view(size)? } else { inputs.copy() };
        Ok((Dataset::new(inputs, targets)?, starts))
    }

    fn needed(&self) -> usize {
        self.length.saturating_add(usize::from(self.shifted))
    }

    fn starts(&self, tokens: usize) -> Result<Vec<usize>> {
        let stride = self.stride.unwrap_or(self.length);
        for (name, value) in [("Blocks.length", self.length), ("Blocks.stride", stride)] {
            if value == 0 {
                return Err(Error::option(name, "at least 1", 0));
            }
        }
        Ok((0..tokens).step_by(stride).take_while(|start| start.saturating_add(self.needed()) <= tokens).collect())
    }
}

/// The tokens of a file, cut into blocks: `.npy` with integers, `.bin` with unsigned 16-bit numbers as nanoGPT writes, or one number a line.
///
/// Errors: [`Error::Data`] for a file of another form; as for [`Blocks::of`].
///
/// ```no_run
/// use ascribe::prelude::*;
/// use ascribe::dataset::Blocks;
/// let train = dataset::tokens("train.bin", &Blocks { length: 512, shifted: false, ..default() })?;
/// let task = Task::new(|p: &nn::Path| Gpt::new(p, GptOptions::nano(65))).with_objective(NextToken::default());
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn tokens(path: impl AsRef<Path>, blocks: &Blocks) -> Result<Dataset> {
    let path = path.as_ref();
    let ids = match path.extension().is_some_and(|ending| ending == "bin") {
        true => {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            if bytes.len() % 2 != 0 {
                let reason = format!("expected 16-bit numbers, two bytes each, got {} bytes", bytes.len());
                return Err(Error::data(path.display().to_string(), reason));
            }
            bytes.chunks_exact(2).map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]]))).collect()
        }
        false => read::indices(path)?,
    };
    let named = |error| match error {
        Error::Data { reason, .. } => Error::data(path.display().to_string(), reason),
        other => other,
    };
    Ok(blocks.of(&ids).map_err(named)?.named(stem(path)))
}

/// The name of a file without folder and ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The symbols that tokens stand for: characters, or words.
///
/// ```
/// use ascribe::dataset::Vocabulary;
/// let letters = Vocabulary::characters("banana");
/// assert_eq!(letters.encode("nab")?, [2, 0, 1]); // a, b, n
/// assert_eq!(letters.decode(&[1, 0]), "ba");
/// assert!(letters.encode("nabob").is_err());
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    symbols: Vec<String>,
    ids: HashMap<String, i64>,
    words: bool,
}

/// Ends a line of words.
const END_OF_LINE: &str = "<eos>";
/// Stands for all words that have no token.
const UNKNOWN: &str = "<unk>";

impl Vocabulary {
    /// The characters of a text, in the order of their code points.
    pub fn characters(text: &str) -> Vocabulary {
        let mut symbols: Vec<char> = text.chars().collect();
        symbols.sort_unstable();
        symbols.dedup();
        Vocabulary::new(symbols.into_iter().map(String::from), false)
    }

    /// The words of a text that is separated by spaces already, as WikiText is, in the order in which they appear; `<eos>` ends each line.
    pub fn words(text: &str) -> Vocabulary {
        Vocabulary::new(words_of(text).map(str::to_string), true)
    }

    fn new(symbols: impl Iterator<Item = String>, words: bool) -> Vocabulary {
        let mut vocabulary = Vocabulary { symbols: Vec::new(), ids: HashMap::new(), words };
        for symbol in symbols {
            if !vocabulary.ids.contains_key(&symbol) {
                vocabulary.ids.insert(symbol.clone(), vocabulary.symbols.len() as i64);
                vocabulary.symbols.push(symbol);
            }
        }
        vocabulary
    }

    /// The symbols in the order of their tokens.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The tokens of a text. A word that has none becomes `<unk>`, if that has one.
    ///
    /// Errors: [`Error::Data`] for a symbol without a token.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let unknown = self.ids.get(UNKNOWN).copied().filter(|_| self.words);
        let id = |symbol: &str| {
            self.ids.get(symbol).copied().or(unknown).ok_or_else(|| {
                Error::data("text", format!("{symbol:?} is none of the {} symbols of the vocabulary", self.symbols.len()))
            })
        };
        match self.words {
            true => words_of(text).map(id).collect(),
            false => text.chars().map(|c| id(c.encode_utf8(&mut [0; 4]))).collect(),
        }
    }

    /// The text of some tokens; `?` for one that has no symbol.
    pub fn decode(&self, tokens: &[i64]) -> String {
        let symbol = |&t: &i64| usize::try_from(t).ok().and_then(|t| self.symbols.get(t)).map_or("?", String::as_str);
        tokens.iter().map(symbol).collect::<Vec<_>>().join(if self.words { " " } else { "" })
    }

    /// A text in blocks of tokens. The column `text` holds what a block says, `start` the position of its first token; the symbols are the
    /// names of classes.
    ///
    /// Errors: as for [`Vocabulary::encode`] and [`Blocks::of`].
    pub fn dataset(&self, text: &str, blocks: &Blocks) -> Result<Dataset> {
        let data = blocks.of(&self.encode(text)?)?;
        let rows: Vec<i64> = guarded(|| Ok(Vec::<i64>::try_from(&data.inputs().to_kind(Kind::Int64).view([-1]))?))?;
        let said: Vec<String> = rows.chunks(blocks.length).map(|row| self.decode(row)).collect();
        Ok(data.with_column(Series::new("text".into(), said))?.with_class_names(&self.symbols))
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split_whitespace().chain([END_OF_LINE]))
}
