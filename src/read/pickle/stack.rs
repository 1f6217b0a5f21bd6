//! Stack, marks and memo of the machine, and the tree that it leaves.

use tch::Tensor;

use super::machine::Machine;
use super::node::{Id, Node};
use crate::read::broken::{Outcome, refuse};
use crate::read::value::Value;

/// Lists within lists; Python's own limit is of this order.
const DEEPEST: usize = 100;

impl<'a> Machine<'a, '_> {
    /// Puts a new value on the stack.
    pub(super) fn push(&mut self, node: Node<'a>) -> Outcome<()> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn add(&mut self, node: Node<'a>) -> Outcome<Id> {
        let id = Id::try_from(self.nodes.len()).map_err(|_| "a pickle of more than 4 thousand million values")?;
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    /// Counts copied bytes against what a file of this size may need.
    pub(super) fn spend(&mut self, bytes: u64) -> Outcome<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => refuse("its values refer to each other so often that they would take far more memory than the file"),
        }
    }

    pub(super) fn top(&self) -> Outcome<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => refuse("not a pickle: a value is missing on its stack"),
        }
    }

    pub(super) fn pop(&mut self) -> Outcome<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark.
    pub(super) fn marked(&mut self) -> Outcome<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => refuse("not a pickle: a mark is missing on its stack"),
        }
    }

    pub(super) fn remember(&mut self, key: u64) -> Outcome<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, key: u64) -> Outcome<()> {
        match self.memo.get(&key) {
            Some(id) => {
                self.stack.push(*id);
                Ok(())
            }
            None => refuse(format!("not a pickle: it recalls value {key}, which it never stored")),
        }
    }

    pub(super) fn extend(&mut self, items: Vec<Id>) -> Outcome<()> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(list) | Node::Set(list) => {
                list.extend(items);
                Ok(())
            }
            other => refuse(format!("not a pickle: it appends to {}", other.what())),
        }
    }

    pub(super) fn insert(&mut self, items: Vec<(Id, Id)>) -> Outcome<()> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::Dict(entries) => {
                entries.extend(items);
                Ok(())
            }
            other => refuse(format!("not a pickle: it sets an entry of {}", other.what())),
        }
    }

    /// The tree under a node, every shared value written out.
    pub(super) fn expand(&mut self, id: Id, depth: usize) -> Outcome<Value> {
        if depth > DEEPEST {
            return refuse(format!("values nested deeper than {DEEPEST}, or containing themselves"));
        }
        let copied = match self.node(id) {
            Node::Text(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.len(),
            Node::Dict(entries) => entries.len(),
            _ => 0,
        };
        self.spend(1 + copied as u64)?;
        Ok(match self.node(id) {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Text(text) => Value::Text(text.to_string()),
            Node::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Node::Tensor(tensor) => Value::Tensor(Tensor::shallow_clone(tensor)),
            Node::List(items) => Value::List(self.expand_all(items.clone(), depth)?),
            Node::Tuple(items) => Value::Tuple(self.expand_all(items.clone(), depth)?),
            Node::Set(items) => Value::Set(self.expand_all(items.clone(), depth)?),
            Node::Dict(entries) => {
                let entries = entries.clone();
                let pair = |(key, value)| Ok((self.expand(key, depth + 1)?, self.expand(value, depth + 1)?));
                Value::Dict(entries.into_iter().map(pair).collect::<Outcome<_>>()?)
            }
            other => return refuse(format!("expected plain data, got {}", other.what())),
        })
    }

    fn expand_all(&mut self, items: Vec<Id>, depth: usize) -> Outcome<Vec<Value>> {
        items.into_iter().map(|item| self.expand(item, depth + 1)).collect()
    }
}
