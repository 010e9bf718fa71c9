//! Attributes and tensors of nodes that the export writes.

use bytes::Bytes;

use crate::proto;

/// Numbers of `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const GRAPH: i32 = 5;
const INTS: i32 = 7;

/// Numbers of `TensorProto.DataType`.
pub(super) mod element {
    pub(in crate::export) const FLOAT: i32 = 1;
    pub(in crate::export) const INT64: i32 = 7;
    pub(in crate::export) const DOUBLE: i32 = 11;
}

fn attribute(name: &str, kind: i32) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), kind, ..Default::default() }
}

pub(super) fn float(name: &str, value: f64) -> proto::Attribute {
    proto::Attribute { float: Some(value as f32), ..attribute(name, FLOAT) }
}

pub(super) fn int(name: &str, value: i64) -> proto::Attribute {
    proto::Attribute { int: Some(value), ..attribute(name, INT) }
}

pub(super) fn size(name: &str, value: usize) -> proto::Attribute {
    int(name, value as i64)
}

pub(super) fn sizes(name: &str, values: impl IntoIterator<Item = usize>) -> proto::Attribute {
    let ints = values.into_iter().map(|value| value as i64).collect();
    proto::Attribute { ints, ..attribute(name, INTS) }
}

pub(super) fn text(name: &str, value: &'static str) -> proto::Attribute {
    proto::Attribute { string: Some(Bytes::from_static(value.as_bytes())), ..attribute(name, STRING) }
}

pub(super) fn tensor(name: &str, value: proto::Tensor) -> proto::Attribute {
    proto::Attribute { tensor: Some(value), ..attribute(name, TENSOR) }
}

pub(super) fn graph(name: &str, value: proto::Graph) -> proto::Attribute {
    proto::Attribute { graph: Some(value), ..attribute(name, GRAPH) }
}

/// A tensor of floats.
pub(super) fn floats(dims: &[usize], values: &[f32]) -> proto::Tensor {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    proto::Tensor { element: element::FLOAT, raw: Some(raw.into()), ..of_dims(dims) }
}

/// A tensor of floats of 64 bits.
pub(super) fn double(value: f64) -> proto::Tensor {
    let raw = Bytes::copy_from_slice(&value.to_le_bytes());
    proto::Tensor { element: element::DOUBLE, raw: Some(raw), ..of_dims(&[]) }
}

/// A tensor of integers: one axis, or a single number without axes.
pub(super) fn integers(dims: &[usize], values: &[i64]) -> proto::Tensor {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    proto::Tensor { element: element::INT64, raw: Some(raw.into()), ..of_dims(dims) }
}

fn of_dims(dims: &[usize]) -> proto::Tensor {
    proto::Tensor { dims: dims.iter().map(|&size| size as i64).collect(), ..Default::default() }
}
