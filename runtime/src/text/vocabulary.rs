//! The tokens of texts and their indices.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;
use windlass_compiler::setters;

use super::TextError;
use crate::error::Error;

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// A character as readers see it: an extended grapheme cluster of Unicode, so that `e` with a combining accent is
    /// one token.
    #[default]
    Characters,
    /// What stands between white space.
    Words,
}

impl Unit {
    /// The tokens of a text, in order.
    pub fn tokens(self, text: &str) -> impl Iterator<Item = &str> {
        let (characters, words) = match self {
            Unit::Characters => (Some(text.graphemes(true)), None),
            Unit::Words => (None, Some(text.split_whitespace())),
        };
        characters.into_iter().flatten().chain(words.into_iter().flatten())
    }
}

/// How a vocabulary is made from texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VocabularyOptions {
    /// What a token is.
    pub unit: Unit,
    /// How often a token must occur; rarer ones are unknown. 0 and 1 keep all.
    pub minimum_frequency: u64,
    /// Tokens behind `<unk>` that texts need not contain, such as `<pad>`, `<bos>` and `<eos>`.
    pub reserved: Vec<String>,
}

impl VocabularyOptions {
    /// Every character is a token.
    pub fn characters() -> Self {
        VocabularyOptions { unit: Unit::Characters, ..VocabularyOptions::default() }
    }

    /// Every word is a token.
    pub fn words() -> Self {
        VocabularyOptions { unit: Unit::Words, ..VocabularyOptions::default() }
    }

    setters! {
        unit: Unit;
        minimum_frequency: u64;
    }

    /// These options with tokens that texts need not contain.
    #[must_use]
    pub fn reserving(mut self, tokens: &[&str]) -> Self {
        self.reserved.extend(tokens.iter().map(|token| (*token).to_owned()));
        self
    }
}

/// Tokens and their indices. Index 0 is `<unk>`, which stands for every token that the vocabulary lacks; the reserved
/// tokens follow, then those of the texts, from the most to the least frequent, equally frequent ones in the order of
/// their characters.
///
/// ```
/// use windlass::text::{Vocabulary, VocabularyOptions};
///
/// let options = VocabularyOptions::words().minimum_frequency(2).reserving(&["<eos>"]);
/// let vocabulary = Vocabulary::of(["to be or not to be", "to be sure"], &options)?;
/// assert_eq!(vocabulary.tokens(), ["<unk>", "<eos>", "be", "to"]);
/// assert_eq!(vocabulary.encode("to be or <eos>"), [3, 2, 0, 1]);
/// assert_eq!(vocabulary.decode(&[3, 2, 0])?, "to be <unk>");
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// `serde` writes the unit and the tokens, and checks them when it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Vocabulary {
    unit: Unit,
    tokens: Vec<String>,
    indices: HashMap<String, i32>,
}

/// The serialized form.
#[derive(Serialize, Deserialize)]
struct Stored {
    unit: Unit,
    tokens: Vec<String>,
}

impl From<Vocabulary> for Stored {
    fn from(vocabulary: Vocabulary) -> Self {
        Stored { unit: vocabulary.unit, tokens: vocabulary.tokens }
    }
}

impl TryFrom<Stored> for Vocabulary {
    type Error = TextError;

    fn try_from(Stored { unit, tokens }: Stored) -> Result<Self, TextError> {
        if tokens.first().map(String::as_str) != Some(Vocabulary::UNKNOWN_TOKEN) {
            return Err(TextError::NoUnknownToken { first: tokens.into_iter().next() });
        }
        let mut indices = HashMap::with_capacity(tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            let Ok(index) = i32::try_from(index) else {
                return Err(TextError::TooManyTokens { tokens: tokens.len() });
            };
            if indices.insert(token.clone(), index).is_some() {
                return Err(TextError::RepeatedToken { token: token.clone() });
            }
        }
        Ok(Vocabulary { unit, tokens, indices })
    }
}

impl Vocabulary {
    /// The index of tokens that the vocabulary lacks.
    pub const UNKNOWN: i32 = 0;

    /// The token that stands for all that the vocabulary lacks.
    pub const UNKNOWN_TOKEN: &'static str = "<unk>";

    /// The vocabulary of some texts.
    ///
    /// # Errors
    /// [`Error::Text`]: no token is frequent enough, or a reserved token is listed twice.
    pub fn of<'t>(
        texts: impl IntoIterator<Item = &'t str>,
        options: &VocabularyOptions,
    ) -> Result<Self, Error> {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for token in texts.into_iter().flat_map(|text| options.unit.tokens(text)) {
            *counts.entry(token).or_default() += 1;
        }
        let first = [Self::UNKNOWN_TOKEN.to_owned()].into_iter().chain(options.reserved.iter().cloned());
        let mut tokens: Vec<String> = first.collect();
        // Texts may contain reserved tokens.
        counts.retain(|token, count| {
            *count >= options.minimum_frequency && !tokens.iter().any(|own| own == token)
        });
        if counts.is_empty() {
            return Err(TextError::NoTokens { minimum_frequency: options.minimum_frequency.max(1) }.into());
        }
        let mut found: Vec<(&str, u64)> = counts.into_iter().collect();
        found.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
        tokens.extend(found.into_iter().map(|(token, _)| token.to_owned()));
        Ok(Stored { unit: options.unit, tokens }.try_into()?)
    }

    /// The number of tokens: the vocabulary of an `embedding`, and the classes of the next token.
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// What a token is.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// All tokens; the position of each is its index.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The index of a token; `None` if the vocabulary lacks it.
    pub fn find(&self, token: &str) -> Option<i32> {
        self.indices.get(token).copied()
    }

    /// The index of a token, or [`Vocabulary::UNKNOWN`].
    pub fn index(&self, token: &str) -> i32 {
        self.find(token).unwrap_or(Self::UNKNOWN)
    }

    /// The token of an index.
    pub fn token(&self, index: i32) -> Option<&str> {
        self.tokens.get(usize::try_from(index).ok()?).map(String::as_str)
    }

    /// The indices of a text's tokens. A reserved token in a text of words is that token; in a text of characters it is
    /// its characters.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        self.unit.tokens(text).map(|token| self.index(token)).collect()
    }

    /// The text of some indices; words are separated by spaces.
    ///
    /// # Errors
    /// [`Error::Text`] for an index without a token.
    pub fn decode(&self, indices: &[i32]) -> Result<String, Error> {
        let tokens = indices.iter().enumerate().map(|(position, &index)| {
            self.token(index).ok_or(TextError::UnknownIndex { index, position, vocabulary: self.size() })
        });
        let tokens = tokens.collect::<Result<Vec<&str>, TextError>>()?;
        Ok(tokens.join(match self.unit {
            Unit::Characters => "",
            Unit::Words => " ",
        }))
    }
}

/// A text in lower case with everything but letters replaced by single spaces, as in Dive into Deep Learning 9.2.
///
/// ```
/// use windlass::text::letters;
/// assert_eq!(letters("The Time Machine, by H. G. Wells [1898]"), "the time machine by h g wells");
/// ```
pub fn letters(text: &str) -> String {
    let words = text.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str], minimum_frequency: u64) -> Result<Vocabulary, Error> {
        let options = VocabularyOptions::words().minimum_frequency(minimum_frequency);
        Vocabulary::of(texts.iter().copied(), &options)
    }

    #[test]
    fn frequent_tokens_come_first_and_equal_ones_in_order() {
        let vocabulary = words(&["b a c a", "c a d"], 0).unwrap();
        assert_eq!(vocabulary.tokens(), ["<unk>", "a", "c", "b", "d"]);
        assert_eq!((vocabulary.size(), vocabulary.unit()), (5, Unit::Words));
        assert_eq!((vocabulary.find("c"), vocabulary.find("e"), vocabulary.index("e")), (Some(2), None, 0));
        assert_eq!((vocabulary.token(4), vocabulary.token(5), vocabulary.token(-1)), (Some("d"), None, None));
        assert_eq!(words(&["b a c a", "c a d"], 2).unwrap().tokens(), ["<unk>", "a", "c"]);
    }

    #[test]
    fn characters_are_those_that_readers_see() {
        let text = "e\u{301}té 👩‍🚀!";
        let vocabulary = Vocabulary::of([text], &VocabularyOptions::characters()).unwrap();
        assert_eq!(vocabulary.encode(text).len(), 6);
        assert!(vocabulary.find("e\u{301}").is_some() && vocabulary.find("👩‍🚀").is_some());
        assert_eq!(vocabulary.decode(&vocabulary.encode(text)).unwrap(), text);
    }

    #[test]
    fn reserved_tokens_have_the_first_indices() {
        let options = VocabularyOptions::words().reserving(&["<pad>", "<eos>"]);
        let vocabulary = Vocabulary::of(["a <eos> b <eos>"], &options).unwrap();
        assert_eq!(vocabulary.tokens(), ["<unk>", "<pad>", "<eos>", "a", "b"]);
        assert_eq!(vocabulary.encode("b <eos>"), [4, 2]);
    }

    #[test]
    fn mistakes_are_typed() {
        let told = |error: Error| error.to_string();
        assert_eq!(
            told(words(&["a b"], 2).unwrap_err()),
            "no token occurs at least 2 times in the texts; lower `minimum_frequency`, or check that the texts are not \
             empty"
        );
        assert!(matches!(words(&[], 0), Err(Error::Text(TextError::NoTokens { minimum_frequency: 1 }))));
        let twice = VocabularyOptions::words().reserving(&["<pad>", "<pad>"]);
        let error = Vocabulary::of(["a"], &twice).unwrap_err();
        assert_eq!(told(error), "the vocabulary has the token \"<pad>\" twice; list it once");
        let vocabulary = words(&["a"], 0).unwrap();
        let error = vocabulary.decode(&[1, 7]).unwrap_err();
        assert_eq!(told(error), "index 7 at position 1 is outside the vocabulary of 2 tokens");
        assert_eq!(vocabulary.decode(&[]).unwrap(), "");
        assert_eq!(vocabulary.encode(""), [0; 0]);
    }

    #[test]
    fn what_is_read_is_checked() {
        let vocabulary = words(&["a b a"], 0).unwrap();
        let text = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(text, r#"{"unit":"words","tokens":["<unk>","a","b"]}"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).unwrap(), vocabulary);
        for (text, reason) in [
            (
                r#"{"unit":"words","tokens":["a"]}"#,
                "the first token of a vocabulary is `<unk>`, not Some(\"a\")",
            ),
            (r#"{"unit":"words","tokens":[]}"#, "the first token of a vocabulary is `<unk>`, not None"),
            (
                r#"{"unit":"characters","tokens":["<unk>","a","a"]}"#,
                "the vocabulary has the token \"a\" twice; list it once",
            ),
        ] {
            assert_eq!(serde_json::from_str::<Vocabulary>(text).unwrap_err().to_string(), reason);
        }
    }
}
