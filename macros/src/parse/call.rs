//! Parses calls of layers and blocks and their arguments, including the syntax of other languages.

use proc_macro2::TokenTree;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Expr, Ident, Lit, Result, Token, parenthesized, token};

use super::{at_next_token, error};
use crate::ast::{Argument, Call, Statement, plain, source};
use crate::layers;

pub(super) fn call(input: ParseStream, name: Ident, read: &mut Vec<Statement>) -> Result<Call> {
    if !input.peek(token::Paren) {
        return Ok(Call { name, arguments: None });
    }
    let content;
    let paren = parenthesized!(content in input);
    let arguments = arguments(&content, read)?;
    let call = Call { name, arguments: Some((paren, arguments)) };
    let mut inner = Vec::new();
    let outer = unnested(call, &mut inner);
    if let Some((_, first)) = inner.first() {
        let labelled = |(label, call): &(Option<Ident>, Call)| match label {
            Some(label) => format!("{label}: {call}"),
            None => call.to_string(),
        };
        let words: Vec<String> = inner.iter().map(labelled).chain([outer.to_string()]).collect();
        let text = "layers follow one another and do not nest";
        read.push(Statement::Slip(error(&first.name, text, &format!("write `{}`", words.join("; ")))));
    }
    read.extend(inner.into_iter().map(|(label, call)| Statement::Call { label, call }));
    Ok(outer)
}

fn arguments(input: ParseStream, read: &mut Vec<Statement>) -> Result<Vec<Argument>> {
    let mut arguments = Vec::new();
    while !input.is_empty() {
        arguments.push(argument(input, read)?);
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        } else if input.peek(Token![;]) {
            read.push(Statement::Slip(at_next_token(
                input,
                "expected `,` between two arguments, found `;`",
                "write `,` instead of `;`",
            )));
            input.parse::<Token![;]>()?;
        } else if input.peek(Ident::peek_any) || input.peek(Lit) {
            let next = input.fork().parse::<TokenTree>()?;
            let help = format!("put a `,` before `{next}`");
            read.push(Statement::Slip(at_next_token(input, "expected `,` between two arguments", &help)));
        } else if !input.is_empty() {
            return Err(at_next_token(
                input,
                "expected `,` between two arguments",
                "for example `conv2d(16, kernel_size = 3)`",
            ));
        }
    }
    Ok(arguments)
}

fn argument(input: ParseStream, read: &mut Vec<Statement>) -> Result<Argument> {
    let named = |ahead: bool| input.peek(Ident::peek_any) && ahead;
    let equals = named(input.peek2(Token![=]) && !input.peek2(Token![==]));
    let colon = named(input.peek2(Token![:]) && !input.peek2(Token![::]));
    let name: Option<Ident> = if equals || colon { Some(input.parse()?) } else { None };
    if equals {
        input.parse::<Token![=]>()?;
    } else if colon {
        input.parse::<Token![:]>()?;
    }
    if input.is_empty() || input.peek(Token![,]) {
        return Err(at_next_token(input, "expected a value", "for example `kernel_size = 3`"));
    }
    let value: Expr = input.parse()?;
    // A layer after a colon has a label, and is itself in the wrong place.
    if let Some(name) = name.as_ref().filter(|_| colon && !is_layer(&value)) {
        let help = format!("write `{name} = {}`", source(&value));
        read.push(Statement::Slip(error(name, "arguments are named with `=`", &help)));
    }
    Ok(Argument { name, value })
}

/// A call without nested layers, which go to `inner` in the order of evaluation: `relu(linear(10))`.
pub(super) fn unnested(mut call: Call, inner: &mut Vec<(Option<Ident>, Call)>) -> Call {
    // A block may take a layer as an argument: `unit(64, leaky_relu(slope = 0.1))`.
    if layers::find(&plain(&call.name)).is_none() {
        return call;
    }
    if let Some((_, arguments)) = &mut call.arguments {
        let nested = arguments.iter().position(|argument| is_layer(&argument.value));
        if let Some(nested) = nested
            && let Argument { name, value: Expr::Call(value) } = arguments.remove(nested)
            && let Some(found) = Call::of(&value)
        {
            let found = unnested(found, inner);
            inner.push((name, found));
            if arguments.is_empty() {
                call.arguments = None;
            }
        }
    }
    call
}

/// Whether an expression calls a layer.
pub(super) fn is_layer(expr: &Expr) -> bool {
    let Expr::Call(call) = expr else { return false };
    let Expr::Path(path) = &*call.func else { return false };
    path.path.get_ident().is_some_and(|name| layers::find(&plain(name)).is_some())
}
