//! A node with its operands and attributes. It notes which attributes are read, so that none is ignored silently.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::error::Reason;
use crate::known::Known;
use crate::proto;
use crate::value::Value;

/// A node whose operands are imported.
pub(crate) struct Node<'m> {
    pub(crate) proto: &'m proto::Node,
    /// The operands; those that are left out are [`Value::Absent`].
    pub(crate) operands: Vec<Value>,
    /// The version of the operators.
    pub(crate) opset: i64,
    read: RefCell<HashSet<&'m str>>,
}

impl<'m> Node<'m> {
    pub(crate) fn new(proto: &'m proto::Node, operands: Vec<Value>, opset: i64) -> Self {
        Node { proto, operands, opset, read: RefCell::default() }
    }

    /// An operand.
    pub(crate) fn operand(&self, index: usize) -> Result<&Value, Reason> {
        self.optional(index).ok_or(Reason::Missing { index })
    }

    /// An operand that may be left out.
    pub(crate) fn optional(&self, index: usize) -> Option<&Value> {
        self.operands.get(index).filter(|value| !matches!(value, Value::Absent))
    }

    /// An operand whose elements are known.
    pub(crate) fn known(&self, index: usize) -> Result<&Known, Reason> {
        self.operand(index)?.known().map_err(|reason| reason.of_operand(index))
    }

    /// An operand whose elements are known, if it is given.
    pub(crate) fn optional_known(&self, index: usize) -> Result<Option<&Known>, Reason> {
        self.optional(index).map(|_| self.known(index)).transpose()
    }

    /// An operand of known integers.
    pub(crate) fn integers(&self, index: usize) -> Result<Vec<i64>, Reason> {
        let known = self.known(index)?;
        known.to_integers().ok_or_else(|| Reason::Operand {
            index,
            problem: "must be integers that depend on no open size".to_owned(),
        })
    }

    /// An operand of one known number.
    pub(crate) fn number(&self, index: usize) -> Result<f32, Reason> {
        match self.known(index)?.to_floats().as_deref() {
            Some([number]) => Ok(*number),
            _ => Err(Reason::Operand { index, problem: "must be one number".to_owned() }),
        }
    }

    /// The number of results that are used.
    pub(crate) fn results(&self) -> usize {
        self.proto.outputs.len()
    }

    /// Whether a result has a name.
    pub(crate) fn has_result(&self, index: usize) -> bool {
        self.proto.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&'m proto::Attribute> {
        let found = self.proto.attributes.iter().find(|attribute| attribute.name == name)?;
        self.read.borrow_mut().insert(&found.name);
        Some(found)
    }

    /// Reads an attribute that has no influence on the results of a network.
    pub(crate) fn ignore(&self, names: &[&str]) {
        for name in names {
            self.attribute(name);
        }
    }

    /// The attribute that was not read, if there is one.
    pub(crate) fn unread(&self) -> Option<&'m str> {
        let read = self.read.borrow();
        self.proto.attributes.iter().map(|attribute| &*attribute.name).find(|name| !read.contains(name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.int).unwrap_or(default)
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, i64::from(default)) != 0
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.float).unwrap_or(default)
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'m [i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'m [f32]> {
        self.attribute(name).map(|attribute| &attribute.floats[..])
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'m str> {
        let bytes = self.attribute(name)?.string.as_ref()?;
        std::str::from_utf8(bytes).ok()
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<&'m str>> {
        let strings = &self.attribute(name)?.strings;
        Some(strings.iter().map(|bytes| std::str::from_utf8(bytes).unwrap_or_default()).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'m proto::Tensor> {
        self.attribute(name)?.tensor.as_ref()
    }

    pub(crate) fn graph(&self, name: &str) -> Option<&'m proto::Graph> {
        self.attribute(name)?.graph.as_ref()
    }

    /// Sizes in an attribute: integers of at least `least`.
    pub(crate) fn sizes(&self, name: &'static str, least: i64) -> Result<Option<Vec<usize>>, Reason> {
        let Some(ints) = self.ints(name) else { return Ok(None) };
        let size = |&value: &i64| usize::try_from(value).ok().filter(|_| value >= least && value < 1 << 31);
        ints.iter().map(size).collect::<Option<Vec<usize>>>().map(Some).ok_or_else(|| {
            let needed = format!("sizes are at least {least}, and below 2^31");
            Reason::AttributeValue { name, value: format!("{ints:?}"), needed }
        })
    }

    /// Axes, which may be counted from the end: the attribute, or since some version the operand `index`.
    pub(crate) fn axes(&self, index: usize, rank: usize) -> Result<Option<Vec<usize>>, Reason> {
        let given = match self.ints("axes") {
            Some(ints) => Some(ints.to_vec()),
            None => self.optional(index).map(|_| self.integers(index)).transpose()?,
        };
        given.map(|axes| axes.iter().map(|&axis| resolve(axis, rank)).collect()).transpose()
    }

    /// The attribute `axis`, which may be counted from the end.
    pub(crate) fn axis(&self, default: i64, rank: usize) -> Result<usize, Reason> {
        resolve(self.int("axis", default), rank)
    }
}

/// The number of an axis that may be counted from the end.
pub(crate) fn resolve(axis: i64, rank: usize) -> Result<usize, Reason> {
    let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match counted.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank) {
        Some(axis) => Ok(axis),
        None => Err(Reason::Unsupported(format!("there is no axis {axis} of {rank}"))),
    }
}
