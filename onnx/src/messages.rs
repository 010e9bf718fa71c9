//! The memory that the messages of a file take when they are decoded, estimated before: an empty message of two bytes becomes a
//! structure of hundreds. It refuses files that would take much more than they have.

use crate::error::ImportError;
use crate::proto;

/// The most bytes of messages for an empty file, and for each byte of a file. Nodes of real models have 20 to 100 bytes.
const MOST: usize = 64 << 20;
const MOST_FOR_BYTE: usize = 16;

/// Messages deeper than this are refused when they are decoded.
const DEEPEST: usize = 100;

/// A message that holds others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    TensorType,
    TensorShape,
    Tensor,
    /// One without repeated messages.
    Other,
}

impl Kind {
    /// The message or text of a field, with its bytes in memory.
    fn field(self, number: u64) -> Option<(Kind, usize)> {
        let text = (Kind::Other, size_of::<String>());
        Some(match (self, number) {
            (Kind::Model, 7) | (Kind::Attribute, 6) => (Kind::Graph, 0),
            (Kind::Model, 25) => (Kind::Function, size_of::<proto::Function>()),
            (Kind::Model, 8) | (Kind::Function, 9) => (Kind::Other, size_of::<proto::OperatorSet>()),
            (Kind::Function, 7) | (Kind::Graph, 1) => (Kind::Node, size_of::<proto::Node>()),
            (Kind::Function, 4 | 5) | (Kind::Node, 1 | 2) => text,
            (Kind::Graph, 5) => (Kind::Tensor, size_of::<proto::Tensor>()),
            (Kind::Graph, 11 | 12) => (Kind::ValueInfo, size_of::<proto::ValueInfo>()),
            (Kind::Node, 5) => (Kind::Attribute, size_of::<proto::Attribute>()),
            (Kind::Attribute, 5) => (Kind::Tensor, 0),
            (Kind::Attribute, 9) => (Kind::Other, size_of::<bytes::Bytes>()),
            (Kind::ValueInfo, 2) => (Kind::Type, 0),
            (Kind::Type, 1) => (Kind::TensorType, 0),
            (Kind::TensorType, 2) => (Kind::TensorShape, 0),
            (Kind::TensorShape, 1) => (Kind::Other, size_of::<proto::Axis>()),
            (Kind::Tensor, 13) => (Kind::Other, size_of::<proto::Entry>()),
            _ => return None,
        })
    }
}

/// Checks that the messages of a model do not take much more memory than its file has bytes. Bytes that are no messages are
/// accepted: their decoding fails where this stops.
///
/// # Errors
/// [`ImportError::Format`].
pub(crate) fn check(bytes: &[u8]) -> Result<(), ImportError> {
    let most = MOST.saturating_add(MOST_FOR_BYTE.saturating_mul(bytes.len()));
    let mut left = most;
    count(Kind::Model, bytes, 0, &mut left).map_err(|TooMany| ImportError::Format {
        reason: format!("its messages would take more than {most} bytes, but the file has {}", bytes.len()),
    })
}

struct TooMany;

fn count(kind: Kind, mut bytes: &[u8], depth: usize, left: &mut usize) -> Result<(), TooMany> {
    while let Some(key) = varint(&mut bytes) {
        match key & 7 {
            0 if varint(&mut bytes).is_some() => {}
            1 if bytes.len() >= 8 => bytes = &bytes[8..],
            5 if bytes.len() >= 4 => bytes = &bytes[4..],
            2 => {
                let length = varint(&mut bytes).and_then(|length| usize::try_from(length).ok());
                let Some((content, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
                    return Ok(());
                };
                bytes = rest;
                if let Some((inner, size)) = kind.field(key >> 3) {
                    *left = left.checked_sub(size).ok_or(TooMany)?;
                    if depth < DEEPEST && !matches!(inner, Kind::Other) {
                        count(inner, content, depth + 1, left)?;
                    }
                }
            }
            // The fields of a group, which decoding skips, are counted like those around it.
            3 | 4 => {}
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// A number of at most ten bytes, of which the last has no upper bit.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::check;

    /// A field of bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, content].concat()
    }

    #[test]
    fn many_small_messages_are_refused() {
        // Nodes, attributes of a node, axes of an input, entries of a tensor.
        for path in [&[7, 1][..], &[7, 1, 5], &[7, 11, 2, 1, 2, 1], &[7, 5, 13]] {
            let nested = |count: usize| {
                let (last, around) = path.split_last().unwrap();
                let many = field(*last, &[]).repeat(count);
                around.iter().rev().fold(many, |content, number| field(*number, &content))
            };
            assert!(check(&nested(1000)).is_ok(), "{path:?}");
            let message = check(&nested(12 << 20)).unwrap_err().to_string();
            assert!(message.contains("its messages would take"), "{message}");
        }
    }

    #[test]
    fn other_bytes_are_left_to_the_decoder() {
        for bytes in [&[][..], &[0xff; 40], &[0x3a, 0x7f, 1], &[0x0b, 0x3a, 0, 0x0c], &[7], &[9, 1, 2]] {
            assert!(check(bytes).is_ok(), "{bytes:?}");
        }
    }
}
