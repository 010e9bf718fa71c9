//! Bounds the nesting of a program. Parsing and checking are recursive, and a stack overflow would abort the user's
//! compiler without a message.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// The maximum nesting of brackets.
const MAX_BRACKETS: usize = 48;

/// The maximum number of tokens since the last separator, including those around the brackets: operators nest without
/// brackets, as in `--1`.
const MAX_TOKENS: usize = 400;

/// The position at which a program is nested too deeply, if it is.
pub(crate) fn too_deep(program: &TokenStream) -> Option<Span> {
    // Groups still to visit, each with its depth and the tokens around it.
    let mut groups = vec![(program.clone(), 0, 0)];
    while let Some((tokens, depth, around)) = groups.pop() {
        // Tokens since the last separator, and those among them that a `,` does not end: `T<a, T<b, …>>`, `|a, b| …`.
        let (mut run, mut open) = (0, 0);
        let mut behind_brace = false;
        for token in tokens {
            match separator(&token, behind_brace) {
                Some(Separator::Comma) => run = open,
                Some(Separator::End) => (run, open) = (0, 0),
                None => run += 1,
            }
            open += usize::from(is_punct(&token, '<') || is_punct(&token, '|'));
            if around + run > MAX_TOKENS {
                return Some(token.span());
            }
            behind_brace = false;
            if let TokenTree::Group(group) = &token {
                if depth == MAX_BRACKETS {
                    return Some(group.span_open());
                }
                groups.push((group.stream(), depth + 1, around + run));
                behind_brace = group.delimiter() == Delimiter::Brace;
            }
        }
    }
    None
}

/// A token that ends an expression.
enum Separator {
    Comma,
    /// Of a statement or item. After a `}` most tokens begin a new one.
    End,
}

fn separator(token: &TokenTree, behind_brace: bool) -> Option<Separator> {
    match token {
        _ if is_punct(token, ',') => Some(Separator::Comma),
        _ if is_punct(token, ';') => Some(Separator::End),
        TokenTree::Punct(punct) => (behind_brace && punct.as_char() == '#').then_some(Separator::End),
        TokenTree::Ident(word) => (behind_brace && word != "else" && word != "as").then_some(Separator::End),
        TokenTree::Group(_) => behind_brace.then_some(Separator::End),
        TokenTree::Literal(_) => None,
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// The items of a program without their contents, for the names of its networks.
pub(crate) fn outlines(program: TokenStream) -> TokenStream {
    let mut behind_pub = false;
    let mut outlines = Vec::new();
    for token in program {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => outlines.push(token.clone()),
            // Attributes, and the shape of an output.
            TokenTree::Punct(punct) if !matches!(punct.as_char(), '#' | '-' | '>') => {}
            TokenTree::Punct(_) => continue,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => continue,
            TokenTree::Group(group)
                if !behind_pub
                    || group.stream().into_iter().any(|token| matches!(token, TokenTree::Group(_))) =>
            {
                let mut empty = Group::new(group.delimiter(), TokenStream::new());
                empty.set_span(group.span());
                outlines.push(TokenTree::Group(empty));
            }
            _ => outlines.push(token.clone()),
        }
        behind_pub = matches!(&token, TokenTree::Ident(word) if word == "pub");
    }
    outlines.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;

    use super::{MAX_BRACKETS, MAX_TOKENS, too_deep};
    use crate::expanded;

    /// Whether a program counts as too deep. It is also expanded, which must not overflow the stack.
    #[track_caller]
    fn is_too_deep(program: &str) -> bool {
        let tokens: TokenStream = program.parse().expect("tokens");
        let deep = too_deep(&tokens).is_some();
        let rust = expanded(tokens).to_string();
        assert!(rust.contains("struct A"), "the network cannot be named: {rust}");
        assert_eq!(deep, rust.contains("nested too deeply"));
        deep
    }

    fn body(statements: &str) -> String {
        format!("/// Deep.\n pub(crate) network A(x: [4]) -> [4] {{ {statements} }}")
    }

    #[test]
    fn brackets_are_counted() {
        for (open, close) in
            [("linear((", "))"), ("concat { {", "} it }"), ("linear([", "])"), ("repeat 1 {{", "}}")]
        {
            let nested = |depth: usize| {
                let (mut text, levels) = ("1".to_owned(), depth / 2);
                for _ in 0..levels {
                    text = format!("{open} {text} {close}");
                }
                body(&text)
            };
            // The body is the first of them.
            assert!(!is_too_deep(&nested(MAX_BRACKETS - 2)), "{open}");
            assert!(is_too_deep(&nested(MAX_BRACKETS + 2)), "{open}");
            assert!(is_too_deep(&nested(2000)), "{open}");
        }
    }

    #[test]
    fn operators_nest_without_brackets() {
        for word in [
            "- ",
            "! ",
            "& ",
            "1 + ",
            "1 .. ",
            "a = ",
            "return ",
            "x.y.",
            "|a, b| ",
            "A::<B, ",
            "if a {} else ",
            "{} = ",
            "&& ",
            "break ",
            "1 as T<u8, ",
            "for<'a, 'b> |c| ",
            "match ",
            "move |a| ",
            "1 < ",
            "unsafe ",
        ] {
            let chain = |length: usize| body(&format!("linear({} 1)", word.repeat(length)));
            // With either result, it terminates.
            is_too_deep(&chain(MAX_TOKENS / 8));
            assert!(is_too_deep(&chain(MAX_TOKENS)), "{word}");
            assert!(is_too_deep(&chain(20_000)), "{word}");
        }
    }

    #[test]
    fn long_programs_are_not_deep() {
        let long = |statement: &str| body(&statement.repeat(1_000));
        assert!(!is_too_deep(&long("linear(4, bias = true); ")));
        assert!(!is_too_deep(&long("repeat 2 { relu } ")));
        assert!(!is_too_deep(&long("concat { { relu } { relu } } ")));
        let items = "/// One.\n #[cfg(any())] pub network B(x: [4]) -> [4] { relu } ".repeat(200);
        assert!(!is_too_deep(&format!("{items} {}", body("relu"))));
    }
}
