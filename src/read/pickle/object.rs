//! The few calls that make arrays, tensors and scalars; each checks its arguments.

use tch::{Kind, Tensor};

use super::machine::Machine;
use super::node::{Id, Known, Node};
use crate::read::broken::{Outcome, quoted, refuse};
use crate::read::element::{Element, MOST_DIMENSIONS, bytes_of};

impl<'a> Machine<'a, '_> {
    /// A REDUCE: the callee must be one of the known names.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Outcome<Id> {
        let Node::Known(known) = *self.node(callee) else {
            return refuse(format!("not a pickle: it calls {}", self.node(callee).what()));
        };
        let arguments = self.tuple(arguments)?;
        let made = match (known, arguments.as_slice()) {
            (Known::Reconstruct, [class, _, _]) if self.is(*class, Known::Ndarray) => Node::Array,
            (Known::Dtype, [descr, ..]) => Node::Dtype(Element::parse(self.text(*descr)?)?),
            (Known::Scalar, [dtype, bytes]) => self.scalar(*dtype, *bytes)?,
            (Known::FromBuffer, [bytes, dtype, shape, order]) => {
                let fortran = match self.text(*order)? {
                    "C" => false,
                    "F" => true,
                    other => return refuse(format!("expected the order C or F, got {}", quoted(other))),
                };
                self.array(*bytes, *dtype, *shape, fortran)?
            }
            (Known::Encode, [text, encoding]) => self.encode(*text, *encoding)?,
            (Known::Bytes | Known::Bytearray, []) => Node::Bytes((&[]).into()),
            (Known::Bytes | Known::Bytearray, [bytes]) if matches!(self.node(*bytes), Node::Bytes(_)) => return Ok(*bytes),
            // Python 3 writes a bytearray of protocol 2 as text and encoding.
            (Known::Bytearray, [text, encoding]) => self.encode(*text, *encoding)?,
            (Known::Set | Known::Frozenset, []) => Node::Set(Vec::new()),
            (Known::Set | Known::Frozenset, [items]) => Node::Set(self.items(*items)?),
            (Known::OrderedDict, []) => Node::Dict(Vec::new()),
            (Known::Size, [sizes]) => Node::Tuple(self.items(*sizes)?),
            (Known::RebuildParameter, [tensor, _, _]) if matches!(self.node(*tensor), Node::Tensor(_)) => return Ok(*tensor),
            (Known::RebuildTensor, [storage, offset, size, stride, ..]) => self.strided(*storage, *offset, *size, *stride)?,
            _ => return refuse(format!("an array or tensor is rebuilt from {} arguments that do not fit", arguments.len())),
        };
        self.add(made)
    }

    /// A BUILD: gives an array its data, a dtype its byte order. The attributes of an `OrderedDict` are dropped.
    pub(super) fn build(&mut self, target: Id, state: Id) -> Outcome<()> {
        let built = match *self.node(target) {
            Node::Array => match *self.tuple(state)?.as_slice() {
                [_, shape, dtype, fortran, bytes] => {
                    let Node::Bool(fortran) = *self.node(fortran) else { return refuse("an array whose order is not a bool") };
                    self.array(bytes, dtype, shape, fortran)?
                }
                _ => return refuse("an array whose state does not have 5 parts"),
            },
            Node::Dtype(element) => {
                let state = self.tuple(state)?;
                let [_, order, parts @ ..] = state.as_slice() else { return refuse("a dtype without a byte order") };
                if parts.iter().take(3).any(|part| !matches!(self.node(*part), Node::None)) {
                    return refuse("an array of records (structured dtype); only arrays of numbers are read");
                }
                Node::Dtype(element.ordered(self.text(*order)?)?)
            }
            Node::Dict(_) => return Ok(()),
            ref other => return refuse(format!("it sets the state of {}; only arrays have one", other.what())),
        };
        self.nodes[target as usize] = built;
        Ok(())
    }

    /// The storage of a torch archive that a persistent id names.
    pub(super) fn persistent(&mut self, id: Id) -> Outcome<Node<'a>> {
        let parts = self.tuple(id)?;
        let [tag, class, key, _, count] = *parts.as_slice() else {
            return refuse("a persistent id that `torch.save` does not write");
        };
        let Node::Known(Known::Storage(kind)) = *self.node(class) else {
            return refuse("a persistent id whose class is not a torch storage");
        };
        if self.text(tag)? != "storage" {
            return refuse(format!("a persistent id of type {}", quoted(self.text(tag)?)));
        }
        let (key, count) = (self.text(key)?.to_string(), self.int(count)?);
        match &mut self.storages {
            Some(storages) => Ok(Node::Storage(storages(kind, &key, count)?)),
            None => refuse("a torch storage outside a torch archive"),
        }
    }

    fn scalar(&mut self, dtype: Id, bytes: Id) -> Outcome<Node<'a>> {
        let Node::Dtype(element) = *self.node(dtype) else { return refuse("a NumPy scalar without a dtype") };
        let value = element.tensor(self.raw(bytes)?, &[], false)?;
        Ok(match value.f_kind()? {
            Kind::Bool => Node::Bool(value.f_int64_value(&[])? != 0),
            Kind::Half | Kind::Float | Kind::Double => Node::Float(value.f_double_value(&[])?),
            _ => Node::Int(value.f_int64_value(&[])?),
        })
    }

    fn array(&mut self, bytes: Id, dtype: Id, shape: Id, fortran: bool) -> Outcome<Node<'a>> {
        let Node::Dtype(element) = *self.node(dtype) else { return refuse("an array without a dtype") };
        let shape = self.ints(shape)?;
        self.spend(element.bytes_of(&shape)?)?;
        Ok(Node::Tensor(element.tensor(self.raw(bytes)?, &shape, fortran)?))
    }

    /// A view of a storage, which must lie inside it.
    fn strided(&mut self, storage: Id, offset: Id, size: Id, stride: Id) -> Outcome<Node<'a>> {
        let (offset, size, stride) = (self.int(offset)?, self.ints(size)?, self.ints(stride)?);
        let Node::Storage(storage) = self.node(storage) else { return refuse("a tensor without a torch storage") };
        let (storage, held) = (storage.shallow_clone(), storage.numel() as i64);
        let bytes = bytes_of(&size, storage.f_kind()?.elt_size_in_bytes())?;
        let lies = || format!("a tensor of size {size:?}, stride {stride:?}, offset {offset} over a storage of {held} elements");
        if stride.len() != size.len() || offset < 0 || stride.iter().any(|s| *s < 0) {
            return refuse(lies());
        }
        // Position of the last element; the sizes are small enough to multiply, the strides may not be.
        let reach = |last: i64, (d, s): (&i64, &i64)| (d - 1).checked_mul(*s).and_then(|step| last.checked_add(step));
        let last = size.iter().zip(&stride).try_fold(offset, reach);
        match (bytes, last) {
            (0, _) => return Ok(Node::Tensor(Tensor::f_zeros(&size, (storage.f_kind()?, tch::Device::Cpu))?)),
            (_, Some(last)) if last < held => {}
            _ => return refuse(lies()),
        }
        self.spend(bytes)?;
        Ok(Node::Tensor(storage.f_as_strided(&size, &stride, offset)?))
    }

    /// `text.encode("latin1")`: how protocol 2 and older write bytes.
    fn encode(&mut self, text: Id, encoding: Id) -> Outcome<Node<'a>> {
        if !matches!(self.text(encoding)?, "latin1" | "latin-1") {
            return refuse(format!("expected bytes encoded as latin1, got {}", quoted(self.text(encoding)?)));
        }
        let length = self.text(text)?.len() as u64;
        self.spend(length)?;
        let bytes: Option<Vec<u8>> = self.text(text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let bytes = bytes.ok_or("bytes encoded as latin1 hold another character")?;
        Ok(Node::Bytes(bytes.into()))
    }

    fn is(&self, id: Id, known: Known) -> bool {
        matches!(self.node(id), Node::Known(found) if *found == known)
    }

    pub(super) fn text(&self, id: Id) -> Outcome<&str> {
        match self.node(id) {
            Node::Text(text) => Ok(text),
            other => refuse(format!("expected a text, got {}", other.what())),
        }
    }

    /// Bytes, also a Python 2 string.
    fn raw(&self, id: Id) -> Outcome<&[u8]> {
        match self.node(id) {
            Node::Bytes(bytes) => Ok(bytes),
            Node::Text(text) if text.is_ascii() => Ok(text.as_bytes()),
            Node::List(_) => refuse("an array of Python objects; only arrays of numbers are read"),
            other => refuse(format!("expected the bytes of an array, got {}", other.what())),
        }
    }

    fn int(&self, id: Id) -> Outcome<i64> {
        match self.node(id) {
            Node::Int(value) => Ok(*value),
            other => refuse(format!("expected an int, got {}", other.what())),
        }
    }

    fn ints(&self, id: Id) -> Outcome<Vec<i64>> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) if items.len() > MOST_DIMENSIONS => {
                refuse(format!("expected at most {MOST_DIMENSIONS} dimensions, got {}", items.len()))
            }
            Node::Tuple(items) | Node::List(items) => items.iter().map(|item| self.int(*item)).collect(),
            other => refuse(format!("expected a shape, got {}", other.what())),
        }
    }

    fn tuple(&mut self, id: Id) -> Outcome<Vec<Id>> {
        match self.node(id) {
            Node::Tuple(_) => self.items(id),
            other => refuse(format!("not a pickle: expected a tuple, got {}", other.what())),
        }
    }

    /// A copy of the entries, which the budget pays.
    fn items(&mut self, id: Id) -> Outcome<Vec<Id>> {
        let length = match self.node(id) {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) => items.len(),
            other => return refuse(format!("expected a list, got {}", other.what())),
        };
        self.spend(length as u64)?;
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) => Ok(items.clone()),
            _ => Ok(Vec::new()),
        }
    }
}
