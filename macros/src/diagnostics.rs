//! Collects the mistakes of an expansion, at most one for each token, and formats them: what is wrong, how to fix it,
//! and where. Stable Rust only lets a macro report plain errors, so help and notes are further lines.

use std::collections::HashSet;
use std::fmt;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// A mistake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mistake {
    text: String,
    help: Option<String>,
    notes: Vec<String>,
}

impl Mistake {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Mistake { text: text.into(), help: None, notes: Vec::new() }
    }

    /// How to fix it.
    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The enclosing calls and iterations, innermost first.
    pub(crate) fn notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

/// The mistakes so far.
#[derive(Default)]
pub(crate) struct Diagnostics {
    errors: Vec<syn::Error>,
    /// Blocks are checked at each of their calls, and iterations repeat: only the first error for a token is kept.
    /// Spans cannot be compared, but lines and columns can.
    places: HashSet<(usize, usize)>,
    complaints: usize,
    /// Where mistakes in text that is used from elsewhere are reported: the outermost first.
    sites: Vec<Site>,
}

/// The maximum number of notes on uses of text that is written elsewhere.
const SITES_SHOWN: usize = 4;

/// A use of text that is written elsewhere, with what to say about it.
struct Site {
    tokens: TokenStream,
    note: String,
}

impl Diagnostics {
    /// Records a mistake at the given tokens.
    pub(crate) fn report(&mut self, at: &dyn ToTokens, mistake: Mistake) {
        self.push(syn::Error::new_spanned(at.to_token_stream(), mistake));
    }

    /// Reports mistakes at a use of text that is written elsewhere, until [`Diagnostics::leave`].
    pub(crate) fn enter(&mut self, at: &dyn ToTokens, note: String) {
        self.sites.push(Site { tokens: at.to_token_stream(), note });
    }

    /// Ends the latest [`Diagnostics::enter`].
    pub(crate) fn leave(&mut self) {
        self.sites.pop();
    }

    /// Records an error found while parsing.
    pub(crate) fn push(&mut self, mut error: syn::Error) {
        self.complaints += 1;
        if let Some(site) = self.sites.first() {
            let notes: String = self
                .sites
                .iter()
                .rev()
                .take(SITES_SHOWN)
                .map(|site| format!("\nnote: {}", site.note))
                .collect();
            error = syn::Error::new_spanned(site.tokens.clone(), format!("{error}{notes}"));
        }
        let start = error.span().start();
        if self.places.insert((start.line, start.column)) {
            self.errors.push(error);
        }
    }

    /// The number of mistakes so far, including repeated ones.
    pub(crate) fn count(&self) -> usize {
        self.complaints
    }

    /// The invocations of `compile_error!`, in source order.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        let mut errors: Vec<&syn::Error> = self.errors.iter().collect();
        errors.sort_by_key(|error| {
            let start = error.span().start();
            (start.line, start.column)
        });
        errors.into_iter().map(syn::Error::to_compile_error).collect()
    }
}

/// The candidate that a misspelt name most likely stands for.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const CLOSE_ENOUGH: f64 = 0.82;
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= CLOSE_ENOUGH)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn misspellings_find_their_name() {
        let names = ["conv2d", "max_pool2d", "avg_pool2d", "linear", "kernel_size", "relu"];
        for (wrong, right) in [
            ("conv2D", "conv2d"),
            ("conv", "conv2d"),
            ("maxpool2d", "max_pool2d"),
            ("kernel", "kernel_size"),
            ("ReLU", "relu"),
            ("lienar", "linear"),
        ] {
            assert_eq!(did_you_mean(wrong, names), Some(right), "{wrong}");
        }
        assert_eq!(did_you_mean("attention", names), None);
    }
}
