//! Random streams that are independent of each other and of the order in which they are used.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// The purpose of a stream. The discriminant is part of the key, so existing ones never change.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "data"), expect(dead_code, reason = "data sets draw from the others"))]
pub(crate) enum Purpose {
    /// Initial values of a parameter, identified by [`hash_name`] of its name.
    Initialize = 1,
    /// The order of a data set in an epoch.
    Shuffle = 2,
    /// The augmentation of an example in an epoch.
    Augment = 3,
    /// The split of a data set.
    Split = 4,
    /// The mixture of the examples of a batch.
    Mix = 5,
    /// The order of texts in an epoch, and drawn tokens.
    Text = 6,
}

/// The stream of a seed, a purpose, and two numbers that distinguish streams of that purpose.
///
/// The generator is ChaCha with 8 rounds, keyed with the four numbers in little-endian order. They need no mixing: the
/// streams of any two keys are unrelated.
pub(crate) fn stream(seed: u64, purpose: Purpose, first: u64, second: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip([seed, purpose as u64, first, second]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The 64-bit FNV-1a hash of a name (Fowler, Noll and Vo; RFC 9923). Unlike the standard library's hash, it is the same
/// in every version and on every machine.
pub(crate) fn hash_name(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn names_hash_as_published() {
        assert_eq!(hash_name(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_name("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash_name("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let first = |seed, purpose, a, b| stream(seed, purpose, a, b).next_u64();
        let draws = [
            first(1, Purpose::Shuffle, 2, 3),
            first(2, Purpose::Shuffle, 2, 3),
            first(1, Purpose::Augment, 2, 3),
            first(1, Purpose::Shuffle, 3, 3),
            first(1, Purpose::Shuffle, 2, 4),
            first(2, Purpose::Shuffle, 1, 3),
        ];
        for (index, draw) in draws.iter().enumerate() {
            assert!(!draws[..index].contains(draw));
        }
    }

    #[test]
    fn a_stream_is_chacha8_of_its_key() {
        assert_eq!(stream(1, Purpose::Shuffle, 2, 3).next_u64(), 7_721_313_440_808_763_356);
    }
}
