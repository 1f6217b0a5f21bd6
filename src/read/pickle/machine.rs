//! The stack machine: opcodes that make data run, opcodes that make objects are refused.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Storages;
use super::input::{Input, utf8};
use super::node::{Id, Known, Node};
use crate::read::broken::{Outcome, quoted, refuse};
use crate::read::value::Value;

/// What may be copied beyond the file's own bytes: sharing inside a pickle must not blow it up.
const FREE: u64 = 1 << 20;
const PER_BYTE: u64 = 16;

/// Reads one pickle.
pub(in crate::read) struct Machine<'a, 's> {
    input: Input<'a>,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) stack: Vec<Id>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u64, Id>,
    pub(super) storages: Option<&'s mut Storages<'s>>,
    pub(super) budget: u64,
}

impl<'a, 's> Machine<'a, 's> {
    /// A machine over bytes that come from a file of `file` bytes.
    pub(in crate::read) fn new(bytes: &'a [u8], file: u64, storages: Option<&'s mut Storages<'s>>) -> Machine<'a, 's> {
        let (nodes, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        let budget = file.saturating_mul(PER_BYTE).saturating_add(FREE);
        Machine { input: Input::new(bytes), nodes, stack, marks, memo, storages, budget }
    }

    /// Runs to the end of the pickle, which must be the end of the bytes.
    pub(in crate::read) fn run(mut self) -> Outcome<Value> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                break;
            }
            self.step(opcode)?;
        }
        let top = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return refuse("not a pickle: values are left on its stack");
        }
        if self.input.left() > 0 {
            return refuse(format!("{} bytes follow the end of the pickle", self.input.left()));
        }
        self.expand(top, 0)
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            0x80 => {
                let protocol = self.input.byte()?;
                if protocol > 5 {
                    return refuse(format!("expected pickle protocol 0 to 5, got {protocol}"));
                }
                Ok(())
            }
            0x95 => {
                let length = self.input.number(8)?;
                match length <= self.input.left() as u64 {
                    true => Ok(()),
                    false => refuse(format!("cut off: a frame of {length} bytes, {} are left", self.input.left())),
                }
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'I' => match self.input.line()? {
                "01" => self.push(Node::Bool(true)),
                "00" => self.push(Node::Bool(false)),
                line => match line.parse() {
                    Ok(value) => self.push(Node::Int(value)),
                    Err(_) => refuse(format!("expected an int64, got {}", quoted(line))),
                },
            },
            b'L' => self.input.decimal().and_then(|value| self.push(Node::Int(value))),
            b'J' => self.input.number(4).and_then(|value| self.push(Node::Int(i64::from(value as u32 as i32)))),
            b'K' => self.input.number(1).and_then(|value| self.push(Node::Int(value as i64))),
            b'M' => self.input.number(2).and_then(|value| self.push(Node::Int(value as i64))),
            0x8a => self.input.long(1).and_then(|value| self.push(Node::Int(value))),
            0x8b => self.input.long(4).and_then(|value| self.push(Node::Int(value))),
            b'G' => self.input.number(8).and_then(|bits| self.push(Node::Float(f64::from_bits(bits.swap_bytes())))),
            b'F' => {
                let line = self.input.line()?;
                let value = line.parse().map_err(|_| format!("expected a float, got {}", quoted(line)))?;
                self.push(Node::Float(value))
            }
            b'V' => self.input.escaped().and_then(|text| self.push(Node::Text(text.into()))),
            b'X' => self.input.text(4).and_then(|text| self.push(Node::Text(text.into()))),
            0x8c => self.input.text(1).and_then(|text| self.push(Node::Text(text.into()))),
            0x8d => self.input.text(8).and_then(|text| self.push(Node::Text(text.into()))),
            b'S' => self.input.quotation().and_then(|bytes| self.push(string(bytes.into()))),
            b'T' => self.input.counted(4).and_then(|bytes| self.push(string(bytes.into()))),
            b'U' => self.input.counted(1).and_then(|bytes| self.push(string(bytes.into()))),
            b'B' => self.input.counted(4).and_then(|bytes| self.push(Node::Bytes(bytes.into()))),
            b'C' => self.input.counted(1).and_then(|bytes| self.push(Node::Bytes(bytes.into()))),
            0x8e | 0x96 => self.input.counted(8).and_then(|bytes| self.push(Node::Bytes(bytes.into()))),
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.marked().map(|_| ()),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
                Ok(())
            }
            b'l' => self.marked().and_then(|items| self.push(Node::List(items))),
            b't' => self.marked().and_then(|items| self.push(Node::Tuple(items))),
            0x91 => self.marked().and_then(|items| self.push(Node::Set(items))),
            b'd' => self.marked().and_then(pairs).and_then(|entries| self.push(Node::Dict(entries))),
            0x85..=0x87 => {
                let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Outcome<Vec<Id>>>()?;
                items.reverse();
                self.push(Node::Tuple(items))
            }
            b'a' => self.pop().and_then(|item| self.extend(vec![item])),
            b'e' | 0x90 => self.marked().and_then(|items| self.extend(items)),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])
            }
            b'u' => self.marked().and_then(pairs).and_then(|entries| self.insert(entries)),
            b'p' => self.input.decimal().and_then(|key| self.remember(key as u64)),
            b'q' => self.input.number(1).and_then(|key| self.remember(key)),
            b'r' => self.input.number(4).and_then(|key| self.remember(key)),
            0x94 => self.remember(self.memo.len() as u64),
            b'g' => self.input.decimal().and_then(|key| self.recall(key as u64)),
            b'h' => self.input.number(1).and_then(|key| self.recall(key)),
            b'j' => self.input.number(4).and_then(|key| self.recall(key)),
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.name(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text(module)?.to_string(), self.text(name)?.to_string());
                self.name(&module, &name)
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let made = self.call(callee, arguments)?;
                self.stack.push(made);
                Ok(())
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.persistent(id)?;
                self.push(storage)
            }
            b'i' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                refuse(format!("it asks for {}.{}; only numbers, lists and arrays are read", bare(module), bare(name)))
            }
            b'o' | 0x81 | 0x92 => refuse("it makes objects of a class; only numbers, lists and arrays are read"),
            b'P' => refuse("a persistent id in text; only those of `torch.save` are read"),
            0x82..=0x84 => refuse("it uses the extension registry; only numbers, lists and arrays are read"),
            0x97 | 0x98 => refuse("its arrays lie outside the file (out-of-band buffers)"),
            other => refuse(format!("not a pickle: unknown opcode {other:#04x}")),
        }
    }

    fn name(&mut self, module: &str, name: &str) -> Outcome<()> {
        match Known::find(module, name, self.storages.is_some()) {
            Some(known) => self.push(Node::Known(known)),
            None => refuse(format!("it asks for {}.{}; only numbers, lists and arrays are read", bare(module), bare(name))),
        }
    }
}

/// A Python 2 string: text where it is ASCII, else bytes.
fn string(bytes: Cow<'_, [u8]>) -> Node<'_> {
    match bytes {
        bytes if !bytes.is_ascii() => Node::Bytes(bytes),
        Cow::Borrowed(bytes) => utf8(bytes).map_or(Node::Bytes(bytes.into()), |text| Node::Text(text.into())),
        Cow::Owned(bytes) => Node::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
    }
}

fn pairs(items: Vec<Id>) -> Outcome<Vec<(Id, Id)>> {
    match items.len() % 2 {
        0 => Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
        _ => refuse("not a pickle: a dict key without a value"),
    }
}

/// A name without quotation marks, in one line.
fn bare(name: &str) -> String {
    quoted(name).trim_matches('"').to_string()
}
