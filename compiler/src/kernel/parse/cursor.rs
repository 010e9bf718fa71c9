//! The unread rest of a kernel's text, with readers for numbers, variables, extents and addresses.

use std::fmt::Display;
use std::str::FromStr;

use super::error::ParseKernelError;
use crate::kernel::text::is_name_character;

/// The maximum number of open sizes that a text may use.
const MOST_SIZES: usize = 1 << 10;
use crate::kernel::{Address, Affine, BufferId, Element, Extent, OpenTerm, SizeId, Var};

/// How many characters of the unexpected text an error shows.
const SHOWN: usize = 24;

/// The unread rest of a text. Every reading method first skips white space and comments.
#[derive(Debug)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Cursor { text, at: 0 }
    }

    /// The rest, without leading white space and comments.
    pub(super) fn rest(&mut self) -> &'t str {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with(';') {
                return trimmed;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let taken = &self.text[self.at..self.at + bytes];
        self.at += bytes;
        taken
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        self.take(rest.find(|character| !accept(character)).unwrap_or(rest.len()))
    }

    /// The next word, without consuming it.
    pub(super) fn peek_word(&mut self) -> &'t str {
        let rest = self.rest();
        &rest[..rest.find(|character| !is_word_character(character)).unwrap_or(rest.len())]
    }

    /// Reads a word, if it is next.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    /// Reads punctuation, if it is next.
    pub(super) fn eat(&mut self, signs: &str) -> bool {
        let found = self.rest().starts_with(signs);
        if found {
            self.at += signs.len();
        }
        found
    }

    pub(super) fn expect(&mut self, signs: &str) -> Result<(), ParseKernelError> {
        if self.eat(signs) { Ok(()) } else { Err(self.expected(format!("`{signs}`"))) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), ParseKernelError> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(format!("`{word}`"))) }
    }

    /// The error that something else was expected here.
    pub(super) fn expected(&mut self, expected: impl Display) -> ParseKernelError {
        let rest = self.rest();
        let line_end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let shown: String = rest[..line_end].chars().take(SHOWN).collect();
        let found = if shown.is_empty() { "the end".to_owned() } else { format!("`{}`", shown.trim_end()) };
        let (line, column) = self.position();
        ParseKernelError::Syntax { line, column, expected: expected.to_string(), found }
    }

    /// The error that there is too much of something.
    pub(super) fn too_many(&mut self, what: &'static str, most: usize) -> ParseKernelError {
        self.rest();
        let (line, column) = self.position();
        ParseKernelError::TooMany { line, column, what, most }
    }

    fn position(&self) -> (usize, usize) {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Whether the text ends here.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// A number; `what` describes it in errors.
    pub(super) fn number<T: FromStr>(&mut self, what: &str) -> Result<T, ParseKernelError> {
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let sign = rest.len() - digits.len();
        let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
        match rest[..sign + end].parse() {
            Ok(number) => {
                self.at += sign + end;
                Ok(number)
            }
            Err(_) => Err(self.expected(what)),
        }
    }

    /// A count or a distance.
    pub(super) fn count(&mut self) -> Result<usize, ParseKernelError> {
        self.number("a number from 0 on")
    }

    /// A letter followed by a number: `i3`.
    pub(super) fn numbered(&mut self, letter: char) -> Result<usize, ParseKernelError> {
        let number = self.peek_word().strip_prefix(letter).filter(|digits| !digits.starts_with('+'));
        match number.and_then(|digits| Some((digits.len(), digits.parse().ok()?))) {
            Some((length, number)) => {
                self.at += 1 + length;
                Ok(number)
            }
            None => Err(self.expected(format!("`{letter}` with a number"))),
        }
    }

    pub(super) fn var(&mut self) -> Result<Var, ParseKernelError> {
        self.numbered('i').map(Var)
    }

    /// A quoted string; the JSON reader handles the escapes.
    pub(super) fn string(&mut self) -> Result<String, ParseKernelError> {
        let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        match stream.next() {
            Some(Ok(text)) => {
                self.at += stream.byte_offset();
                Ok(text)
            }
            _ => Err(self.expected("text in quotes")),
        }
    }

    /// A name, in quotes or not.
    pub(super) fn name(&mut self) -> Result<String, ParseKernelError> {
        if self.rest().starts_with('"') {
            return self.string();
        }
        let name = self.take_while(is_name_character);
        if name.is_empty() { Err(self.expected("a name")) } else { Ok(name.to_owned()) }
    }

    /// An open size, if it is next: `N` or `s3`.
    pub(super) fn eat_size(&mut self) -> Option<SizeId> {
        if self.eat_word("N") {
            return Some(SizeId::BATCH);
        }
        let word = self.peek_word();
        let digits =
            word.strip_prefix('s').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let size = digits.parse().ok().filter(|size| (1..MOST_SIZES).contains(size))?;
        self.at += word.len();
        Some(SizeId(size))
    }

    /// `12`, `N`, `s1*4`, `floor(N, 8)`, `chunk` or `floor(chunk, 8)`.
    pub(super) fn extent(&mut self) -> Result<Extent, ParseKernelError> {
        if self.eat_word("chunk") {
            return Ok(Extent::Chunk);
        }
        if self.eat_word("floor") {
            self.expect("(")?;
            if self.eat_word("chunk") {
                self.expect(",")?;
                let multiple = self.count()?;
                self.expect(")")?;
                return Ok(Extent::ChunkFloor(multiple));
            }
            let Some(size) = self.eat_size() else {
                return Err(self.expected("an open size, `N` or `s1`, or `chunk`"));
            };
            let times = if self.eat("*") { self.count()? } else { 1 };
            self.expect(",")?;
            let multiple = self.count()?;
            self.expect(")")?;
            return Ok(Extent::Floor { size, times, multiple });
        }
        if let Some(size) = self.eat_size() {
            let times = if self.eat("*") { self.count()? } else { 1 };
            return Ok(Extent::Open(size, times));
        }
        self.number("a number, an open size, `floor(N, …)` or `chunk`").map(Extent::Fixed)
    }

    /// `i0*36 + i1*s1*2 + s1 + 4`.
    pub(super) fn affine(&mut self) -> Result<Affine, ParseKernelError> {
        let mut sum = Affine::default();
        loop {
            if self.rest().starts_with('i') {
                let var = self.var()?;
                if !self.eat("*") {
                    sum.terms.push((var, 1));
                } else if let Some(size) = self.eat_size() {
                    let factor = if self.eat("*") { self.number("a factor")? } else { 1 };
                    sum.open.push(OpenTerm { var: Some(var), size, factor });
                } else {
                    sum.terms.push((var, self.number("a factor or an open size")?));
                }
            } else if let Some(size) = self.eat_size() {
                let factor = if self.eat("*") { self.number("a factor")? } else { 1 };
                sum.open.push(OpenTerm { var: None, size, factor });
            } else {
                let constant: i64 = self.number("a variable, an open size or a number")?;
                sum.constant =
                    sum.constant.checked_add(constant).ok_or_else(|| self.expected("a sum of 64 bits"))?;
            }
            if !self.eat("+") {
                return Ok(sum);
            }
        }
    }

    /// `b3[i0*36 + 4]`.
    pub(super) fn address(&mut self) -> Result<Address, ParseKernelError> {
        let buffer = self.numbered('b').map(BufferId)?;
        self.expect("[")?;
        let offset = self.affine()?;
        self.expect("]")?;
        Ok(Address { buffer, offset })
    }

    pub(super) fn element(&mut self) -> Result<Element, ParseKernelError> {
        let elements = [Element::F32, Element::I32, Element::U8];
        let word = self.peek_word();
        match elements.into_iter().find(|element| element.to_string() == word) {
            Some(element) => {
                self.at += word.len();
                Ok(element)
            }
            None => Err(self.expected("`f32`, `i32` or `u8`")),
        }
    }

    /// The parameter of a function.
    pub(super) fn parameter(&mut self) -> Result<f64, ParseKernelError> {
        let rest = self.rest();
        let number = &rest[..rest.find([')', ' ', '\n']).unwrap_or(rest.len())];
        match number.parse() {
            Ok(parameter) => {
                self.at += number.len();
                Ok(parameter)
            }
            Err(_) => Err(self.expected("a parameter")),
        }
    }

    /// A float (with a point or an exponent, or a word such as `inf`) or an integer.
    pub(super) fn constant(&mut self) -> Result<Constant, ParseKernelError> {
        if self.eat_word("nan") {
            let Some(digits) = self.peek_word().strip_prefix("0x") else {
                return Ok(Constant::Float(f32::NAN));
            };
            let bits = u32::from_str_radix(digits, 16).ok().filter(|&bits| f32::from_bits(bits).is_nan());
            let Some(bits) = bits else { return Err(self.expected("the bits of a NaN")) };
            self.at += 2 + digits.len();
            return Ok(Constant::Float(f32::from_bits(bits)));
        }
        let rest = self.rest();
        let belongs = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
        let number = &rest[..rest.find(|character| !belongs(character)).unwrap_or(rest.len())];
        let is_number = matches!(number, "inf" | "-inf")
            || number.strip_prefix('-').unwrap_or(number).starts_with(|first: char| first.is_ascii_digit());
        let constant = match number.parse::<i32>() {
            _ if !is_number => None,
            Ok(integer) => Some(Constant::Integer(integer)),
            Err(_) if number.contains(['.', 'e', 'n']) => number.parse().ok().map(Constant::Float),
            Err(_) => None,
        };
        let Some(constant) = constant else { return Err(self.expected("an expression")) };
        self.at += number.len();
        Ok(constant)
    }
}

/// A constant of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) enum Constant {
    Float(f32),
    Integer(i32),
}
