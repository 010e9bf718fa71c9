//! Parses loops over the steps of sequences, and the states of recurrent layers.

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Result, Token, parenthesized, token};

use super::{at_next_token, body, error, item};
use crate::ast::{Carried, Initial, Scan, Statement};

mod keyword {
    syn::custom_keyword!(reverse);
    syn::custom_keyword!(states);
}

const EXAMPLE: &str = "write `scan (h: [64]) { … h = it; }`: `h` is carried from step to step";

/// The part after `scan`: `reverse (h: [64], c = start, frame in frames) { … }`.
pub(super) fn scan(input: ParseStream, label: Option<Ident>, keyword: Ident) -> Result<Statement> {
    let reverse = if input.peek(keyword::reverse) { Some(Ident::parse_any(input)?) } else { None };
    let (mut carried, mut sequences) = (Vec::new(), Vec::new());
    if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        while !content.is_empty() {
            value(&content, &mut carried, &mut sequences)?;
            if !content.is_empty() && content.parse::<Option<Token![,]>>()?.is_none() {
                return Err(at_next_token(&content, "expected `,` between two values", EXAMPLE));
            }
        }
    }
    if !input.peek(token::Brace) {
        return Err(error(&keyword, "`scan` needs a body: the layers of one step", EXAMPLE));
    }
    Ok(Statement::Scan(Scan { label, keyword, reverse, carried, sequences, body: body(input)? }))
}

fn value(input: ParseStream, carried: &mut Vec<Carried>, sequences: &mut Vec<(Ident, Ident)>) -> Result<()> {
    if !input.peek(Ident) {
        return Err(at_next_token(input, "expected the name of a carried value", EXAMPLE));
    }
    let name: Ident = input.parse()?;
    if input.parse::<Option<Token![:]>>()?.is_some() {
        carried.push(Carried { name, initial: Initial::Zeros(item::sizes(input)?) });
    } else if input.parse::<Option<Token![=]>>()?.is_some() {
        let initial = value_name(input)?;
        carried.push(Carried { name, initial: Initial::Value(initial) });
    } else if input.parse::<Option<Token![in]>>()?.is_some() {
        sequences.push((name, value_name(input)?));
    } else {
        let text = format!("`{name}` needs a first value or a sequence");
        let help =
            format!("write `{name}: [64]` for zeros, `{name} = start`, or `{name} in frames` for its steps");
        return Err(error(&name, &text, &help));
    }
    Ok(())
}

fn value_name(input: ParseStream) -> Result<Ident> {
    if !input.peek(Ident) {
        let help = "name the value first: `let start = it;`";
        return Err(at_next_token(input, "expected `it` or the name of a value", help));
    }
    input.parse()
}

/// Whether the states of a layer follow: `r.states`.
pub(super) fn names_states(input: ParseStream) -> bool {
    let ahead = input.fork();
    ahead.parse::<Ident>().is_ok() && ahead.parse::<Token![.]>().is_ok() && ahead.peek(keyword::states)
}

/// `r.states`, after `let (h, c) =`.
pub(super) fn states(input: ParseStream, names: Vec<Ident>) -> Result<Statement> {
    let label = input.parse()?;
    input.parse::<Token![.]>()?;
    input.parse::<keyword::states>()?;
    Ok(Statement::States { names, label })
}
