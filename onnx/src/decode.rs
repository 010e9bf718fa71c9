//! Tensors of an ONNX file, verified: sizes, number of elements, and files beside the model.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::ImportError;
use crate::known::{Elements, Known};
use crate::proto;

/// The element types of `TensorProto.DataType` that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    Float,
    Double,
    Float16,
    Bfloat16,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
}

impl ElementType {
    /// The type with a number of `TensorProto.DataType`.
    pub(crate) fn of(number: i32) -> Option<Self> {
        Some(match number {
            1 => ElementType::Float,
            2 => ElementType::Uint8,
            3 => ElementType::Int8,
            4 => ElementType::Uint16,
            5 => ElementType::Int16,
            6 => ElementType::Int32,
            7 => ElementType::Int64,
            9 => ElementType::Bool,
            10 => ElementType::Float16,
            11 => ElementType::Double,
            12 => ElementType::Uint32,
            13 => ElementType::Uint64,
            16 => ElementType::Bfloat16,
            _ => return None,
        })
    }

    pub(crate) fn is_float(self) -> bool {
        use ElementType::{Bfloat16, Double, Float, Float16};
        matches!(self, Float | Double | Float16 | Bfloat16)
    }

    /// The bytes of an element.
    fn bytes(self) -> usize {
        match self {
            ElementType::Uint8 | ElementType::Int8 | ElementType::Bool => 1,
            ElementType::Uint16 | ElementType::Int16 | ElementType::Float16 | ElementType::Bfloat16 => 2,
            ElementType::Float | ElementType::Int32 | ElementType::Uint32 => 4,
            ElementType::Double | ElementType::Int64 | ElementType::Uint64 => 8,
        }
    }
}

/// Reads tensors, and the files beside the model that hold their elements.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The folder of the model; without it, no file is read.
    folder: Option<PathBuf>,
    files: HashMap<PathBuf, Bytes>,
}

impl Decoder {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Decoder { folder, files: HashMap::new() }
    }

    /// A tensor of the file.
    pub(crate) fn tensor(&mut self, tensor: &proto::Tensor) -> Result<Known, ImportError> {
        let error = |reason: String| ImportError::Tensor { name: tensor.name.clone(), reason };
        let element = ElementType::of(tensor.element).ok_or_else(|| {
            error(format!("has elements of type {}, which is not supported", tensor.element))
        })?;
        let too_many = || error("has more elements than memory".to_owned());
        let (mut count, mut strides) = (1usize, 1usize);
        let mut dims = Vec::with_capacity(tensor.dims.len());
        for &size in &tensor.dims {
            let size = usize::try_from(size).map_err(|_| error(format!("has an axis of size {size}")))?;
            count = count.checked_mul(size).ok_or_else(too_many)?;
            // Strides are products of the sizes behind an axis, also if another one is 0.
            strides = strides.checked_mul(size.max(1)).ok_or_else(too_many)?;
            dims.push(size);
        }
        let external = match tensor.location {
            0 => None,
            1 => Some(self.external(tensor)?),
            other => return Err(error(format!("is stored at an unknown location {other}"))),
        };
        let elements = match external.or_else(|| tensor.raw.clone()) {
            Some(bytes) => {
                let expected = count.checked_mul(element.bytes());
                if expected != Some(bytes.len()) {
                    let sizes = format!("{:?}", tensor.dims);
                    return Err(error(format!("of sizes {sizes} has {} bytes of elements", bytes.len())));
                }
                from_bytes(element, &bytes)
            }
            None => from_fields(element, tensor),
        };
        let known = Known { element: Some(element), ..Known::new(dims, elements) };
        if known.len() != count {
            return Err(error(format!("of sizes {:?} has {} elements", tensor.dims, known.len())));
        }
        Ok(known)
    }

    /// The bytes of a tensor in another file.
    fn external(&mut self, tensor: &proto::Tensor) -> Result<Bytes, ImportError> {
        let error = |reason: String| ImportError::Tensor { name: tensor.name.clone(), reason };
        let entry =
            |key: &str| tensor.external.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(error(format!("has the {key} `{text}` in another file"))),
            },
        };
        let location = entry("location").ok_or_else(|| error("names no file for its elements".to_owned()))?;
        let Some(folder) = &self.folder else {
            return Err(error(format!("is in the file `{location}`: import the model from its path")));
        };
        let relative = Path::new(location);
        if location.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(error(format!("is in the file `{location}`, outside the folder of the model")));
        }
        let path = folder.join(relative);
        let bytes = match self.files.get(&path) {
            Some(bytes) => bytes.clone(),
            None => {
                let read = std::fs::read(&path)
                    .map_err(|reason| ImportError::Read { path: path.clone(), reason })?;
                self.files.entry(path).or_insert(Bytes::from(read)).clone()
            }
        };
        let start = number("offset")?.unwrap_or(0);
        let end = match number("length")? {
            Some(length) => start.checked_add(length),
            None => Some(bytes.len()),
        };
        match end {
            Some(end) if start <= end && end <= bytes.len() => Ok(bytes.slice(start..end)),
            _ => Err(error(format!("is beyond the end of the file `{location}` of {} bytes", bytes.len()))),
        }
    }
}

/// A number of 16 bits in the format of IEEE 754.
fn from_half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    match (exponent, fraction) {
        (0x1f, 0.0) => sign * f32::INFINITY,
        (0x1f, _) => f32::NAN,
        (0, _) => sign * fraction * 2f32.powi(-24),
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// The upper half of a number of 32 bits.
fn from_bfloat(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn from_bytes(element: ElementType, bytes: &[u8]) -> Elements {
    macro_rules! numbers {
        ($number:ty, $convert:expr) => {{
            let (words, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            words.iter().map(|word| $convert(<$number>::from_le_bytes(*word))).collect()
        }};
    }
    match element {
        ElementType::Float => Elements::Floats(numbers!(f32, |value| value)),
        ElementType::Double => Elements::Floats(numbers!(f64, |value| value as f32)),
        ElementType::Float16 => Elements::Floats(numbers!(u16, from_half)),
        ElementType::Bfloat16 => Elements::Floats(numbers!(u16, from_bfloat)),
        ElementType::Uint8 => Elements::Integers(numbers!(u8, i64::from)),
        ElementType::Int8 => Elements::Integers(numbers!(i8, i64::from)),
        ElementType::Uint16 => Elements::Integers(numbers!(u16, i64::from)),
        ElementType::Int16 => Elements::Integers(numbers!(i16, i64::from)),
        ElementType::Int32 => Elements::Integers(numbers!(i32, i64::from)),
        ElementType::Uint32 => Elements::Integers(numbers!(u32, i64::from)),
        ElementType::Int64 => Elements::Integers(numbers!(i64, |value| value)),
        ElementType::Uint64 => Elements::Integers(numbers!(u64, u64::cast_signed)),
        ElementType::Bool => Elements::Booleans(bytes.iter().map(|&byte| byte != 0).collect()),
    }
}

/// The elements in the field of their type.
fn from_fields(element: ElementType, tensor: &proto::Tensor) -> Elements {
    let halves = || tensor.int32s.iter().map(|&bits| bits.cast_unsigned() as u16);
    match element {
        ElementType::Float => Elements::Floats(tensor.floats.iter().copied().collect()),
        ElementType::Double => Elements::Floats(tensor.doubles.iter().map(|&value| value as f32).collect()),
        ElementType::Float16 => Elements::Floats(halves().map(from_half).collect()),
        ElementType::Bfloat16 => Elements::Floats(halves().map(from_bfloat).collect()),
        ElementType::Int64 => Elements::Integers(tensor.int64s.iter().copied().collect()),
        ElementType::Uint32 | ElementType::Uint64 => {
            Elements::Integers(tensor.uint64s.iter().map(|&value| value.cast_signed()).collect())
        }
        ElementType::Bool => Elements::Booleans(tensor.int32s.iter().map(|&value| value != 0).collect()),
        ElementType::Uint8
        | ElementType::Int8
        | ElementType::Uint16
        | ElementType::Int16
        | ElementType::Int32 => {
            Elements::Integers(tensor.int32s.iter().map(|&value| i64::from(value)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{from_bfloat, from_half};

    #[test]
    fn halves_have_the_values_of_ieee_754() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(from_half(bits), value, "{bits:#x}");
        }
        assert!(from_half(0x7e00).is_nan());
        assert_eq!(from_bfloat(0x3fc0), 1.5);
    }
}
