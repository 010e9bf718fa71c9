//! Writes floats exactly, including those that JSON numbers cannot represent.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const INFINITY: &str = "inf";
const NEGATIVE_INFINITY: &str = "-inf";
const NAN: &str = "nan";
/// The prefix of the eight hexadecimal digits of a NaN other than the default one.
const NAN_BITS: &str = "nan.";

/// Whether a word represents a number that is not finite.
pub(crate) fn is_number_word(word: &str) -> bool {
    from_word(word).is_some()
}

fn from_word(word: &str) -> Option<f32> {
    match word {
        INFINITY => Some(f32::INFINITY),
        NEGATIVE_INFINITY => Some(f32::NEG_INFINITY),
        NAN => Some(f32::NAN),
        _ => {
            let digits = word.strip_prefix(NAN_BITS).filter(|digits| digits.len() == 8)?;
            let bits = u32::from_str_radix(digits, 16).ok()?;
            Some(f32::from_bits(bits)).filter(|value| value.is_nan())
        }
    }
}

struct Number(f32);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Number(value) = *self;
        if value.is_finite() {
            return serializer.serialize_f64(f64::from(value));
        }
        match value {
            f32::INFINITY => serializer.serialize_str(INFINITY),
            f32::NEG_INFINITY => serializer.serialize_str(NEGATIVE_INFINITY),
            _ if value.to_bits() == f32::NAN.to_bits() => serializer.serialize_str(NAN),
            _ => serializer.collect_str(&format_args!("{NAN_BITS}{:08x}", value.to_bits())),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"inf\", \"-inf\" or \"nan\"")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                let number = value as f32;
                match number.is_finite() {
                    true => Ok(Number(number)),
                    false => Err(E::custom(format_args!("{value} is beyond the largest float of 32 bits"))),
                }
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f32))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f32))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Number, E> {
                from_word(word).map(Number).ok_or_else(|| E::custom(format_args!("`{word}` is no number")))
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

pub(super) fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|&value| Number(value)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    struct NumbersVisitor;

    impl<'de> Visitor<'de> for NumbersVisitor {
        type Value = Vec<f32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<f32>, A::Error> {
            let mut values = Vec::new();
            while let Some(Number(value)) = list.next_element()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    deserializer.deserialize_seq(NumbersVisitor)
}
