//! Mutations of files: of bits and bytes anywhere, of tokens in text, of lengths and counts at the positions that a
//! format has.

use fastrand::Rng;

use crate::FuzzTarget;
use crate::seeds::{gzip, safetensors};

/// The maximum length of an input, except for deep nesting.
const LONGEST: usize = 16 << 10;

/// Limits of types and formats.
const NUMBERS: [&str; 32] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "16",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-2147483648",
    "-9223372036854775808",
    "0.5",
    "1e-5",
    "1e38",
    "3.6e38",
    "1e308",
    "1e309",
    "-1e999",
    "1e-400",
    "inf",
    "nan",
    "null",
];

/// Keywords of the formats.
const WORDS: [&str; 40] = [
    "relu",
    "conv",
    "input",
    "output",
    "update",
    "parameter",
    "state",
    "constant",
    "reshape",
    "slice",
    "concat",
    "\"f32[N, 4]\"",
    "\"[4]\"",
    "\"[]\"",
    "[N]",
    "f32[N, 2]",
    "i32[N]",
    "%0",
    "%1",
    "%2",
    "@",
    "@\"a b\"",
    ";",
    "\"\\n\"",
    "true",
    "[]",
    "{}",
    "[[]]",
    "\"\"",
    "name",
    "shape",
    "values",
    "kernel_size",
    "epilogue",
    "\\",
    "\u{feff}",
    "é",
    "data_offsets",
    "\"F64\"",
    "}",
];

/// An input made from seeds.
pub fn mutate(target: FuzzTarget, seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = pick(rng, seeds).to_vec();
    if target == FuzzTarget::Checkpoint && rng.bool() {
        input = checkpoint(&input, rng);
    }
    if target == FuzzTarget::IdxGzip && rng.bool() {
        // The content is mutated, not its compression.
        let mut content = vec![
            0,
            0,
            8,
            if rng.bool() { 1 } else { 3 },
            0,
            0,
            0,
            2,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            3,
            1,
            2,
            3,
            4,
            5,
            6,
        ];
        (0..1 + rng.usize(..3)).for_each(|_| bytes(&mut content, seeds, rng));
        return gzip(&content);
    }
    let mut changes = 1;
    while changes < 8 && rng.usize(..5) < 2 {
        changes += 1;
    }
    for _ in 0..changes {
        if target.is_text() && rng.usize(..4) > 0 {
            tokens(&mut input, seeds, rng);
        } else {
            bytes(&mut input, seeds, rng);
        }
        input.truncate(LONGEST.max(seeds.iter().map(Vec::len).max().unwrap_or(0)));
    }
    if target.is_text() && rng.usize(..2_000) == 0 {
        nest(&mut input, rng);
    }
    input
}

fn pick<'s>(rng: &mut Rng, seeds: &'s [Vec<u8>]) -> &'s [u8] {
    &seeds[rng.usize(..seeds.len())]
}

/// A position in a sequence, including its end.
fn place(rng: &mut Rng, input: &[u8]) -> usize {
    rng.usize(..=input.len())
}

/// A short range of a sequence.
fn stretch(rng: &mut Rng, input: &[u8]) -> std::ops::Range<usize> {
    let start = place(rng, input);
    let longest = if rng.usize(..8) == 0 { input.len() } else { 16 };
    start..(start + rng.usize(..=longest)).min(input.len())
}

/// Mutates some bytes.
fn bytes(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = place(rng, input);
    match rng.usize(..10) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\'][rng.usize(..8)];
            }
        }
        3 => drop(input.drain(stretch(rng, input))),
        4 => {
            let copied = input[stretch(rng, input)].to_vec();
            input.splice(at..at, copied);
        }
        5 => input.truncate(at),
        6 => {
            let other = pick(rng, seeds);
            let from = stretch(rng, other);
            input.splice(at..at, other[from].iter().copied());
        }
        7 => {
            let other = pick(rng, seeds);
            input.truncate(at);
            input.extend_from_slice(&other[place(rng, other)..]);
        }
        // A length or count of 4 or 8 bytes, in either byte order.
        8 | 9 => {
            let number = [
                0,
                1,
                0x7f,
                0xff,
                0x7fff,
                1 << 16,
                1 << 31,
                u64::from(u32::MAX),
                1 << 32,
                u64::MAX >> 1,
                u64::MAX,
            ][rng.usize(..11)];
            let number = number.wrapping_add(rng.u64(..3)).wrapping_sub(1);
            let word: Vec<u8> = match rng.usize(..4) {
                0 => number.to_le_bytes().to_vec(),
                1 => number.to_be_bytes().to_vec(),
                2 => (number as u32).to_le_bytes().to_vec(),
                _ => (number as u32).to_be_bytes().to_vec(),
            };
            // Fields are at whole words, most of them near the start.
            let at = if rng.bool() { 4 * rng.usize(..5) } else { at };
            if at + word.len() <= input.len() {
                input[at..at + word.len()].copy_from_slice(&word);
            }
        }
        _ => unreachable!("ten kinds"),
    }
}

/// The boundaries of tokens in text: numbers, words, parts of strings, and punctuation.
fn token_at(input: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    if at >= input.len() || !is_word(&input[at]) {
        return at..(at + 1).min(input.len());
    }
    let before = input[..at].iter().rev().take_while(|byte| is_word(byte)).count();
    let after = input[at..].iter().take_while(|byte| is_word(byte)).count();
    at - before..at + after
}

/// Mutates some tokens of text, or lines.
fn tokens(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = place(rng, input);
    let token = token_at(input, at);
    match rng.usize(..10) {
        0..3 => {
            // The next number.
            let digit = input[at..].iter().position(u8::is_ascii_digit).map(|distance| at + distance);
            if let Some(at) = digit {
                let token = token_at(input, at);
                let small = rng.usize(..40).to_string();
                let number = if rng.bool() { NUMBERS[rng.usize(..NUMBERS.len())] } else { &small };
                input.splice(token, number.bytes());
            }
        }
        3 => drop(input.splice(token, WORDS[rng.usize(..WORDS.len())].bytes())),
        4 => drop(input.splice(at..at, WORDS[rng.usize(..WORDS.len())].bytes())),
        5 => drop(input.drain(token)),
        6 => {
            let other = token_at(input, place(rng, input));
            let word = input[other].to_vec();
            input.splice(token, word);
        }
        7 => {
            let other = pick(rng, seeds);
            let word = &other[token_at(other, place(rng, other))];
            input.splice(token, word.iter().copied());
        }
        // Lines that are swapped, duplicated, or copied from elsewhere.
        8 | 9 => {
            let mut lines: Vec<&[u8]> = input.split_inclusive(|&byte| byte == b'\n').collect();
            let other = pick(rng, seeds);
            let others: Vec<&[u8]> = other.split_inclusive(|&byte| byte == b'\n').collect();
            if lines.is_empty() || others.is_empty() {
                return;
            }
            let (a, b) = (rng.usize(..lines.len()), rng.usize(..lines.len()));
            match rng.usize(..4) {
                0 => lines.swap(a, b),
                1 => lines.insert(a, lines[b]),
                2 => drop(lines.remove(a)),
                _ => lines.insert(a, others[rng.usize(..others.len())]),
            }
            *input = lines.concat();
        }
        _ => unreachable!("ten kinds"),
    }
}

/// Opens many lists or objects at a position.
fn nest(input: &mut Vec<u8>, rng: &mut Rng) {
    let opening = ["[", "{", "{a = ", "{\"a\": ", "[{\"a\":", "(", "\""][rng.usize(..7)];
    let deep = opening.repeat(1 + rng.usize(..20_000));
    let at = place(rng, input);
    let at = token_at(input, at).start;
    input.splice(at..at, deep.bytes());
}

/// A checkpoint with a mutated header and a correct length, so that the header is parsed.
fn checkpoint(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let length = file.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize);
    let (Some(header), Some(data)) = (file.get(8..8 + length), file.get(8 + length..)) else {
        return file.to_vec();
    };
    let (mut header, mut data) = (header.to_vec(), data.to_vec());
    (0..1 + rng.usize(..3)).for_each(|_| tokens(&mut header, &[file.to_vec()], rng));
    if rng.usize(..4) == 0 {
        data.resize(rng.usize(..64), 0x3f);
    }
    match String::from_utf8(header) {
        Ok(header) => safetensors(&header, &data),
        Err(_) => file.to_vec(),
    }
}
