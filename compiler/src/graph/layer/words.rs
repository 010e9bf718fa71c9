//! Sets of words that arguments of layers choose from.

/// A closed set of words, each with a name in the language.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// The words of the language.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word of the language.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The value of a word.
            pub(super) fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use words;
