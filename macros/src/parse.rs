//! Parses tokens into the syntax tree. A mistake affects only its statement or item and is kept in the tree; parsing
//! continues after it.

mod call;
mod item;
mod scan;

pub(crate) use item::OUTPUTS_HELP;
#[cfg(test)]
mod tests;

use proc_macro2::{Delimiter, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::parse::discouraged::Speculative;
use syn::{Expr, Ident, Result, Token, braced, parenthesized, token};

use self::call::call;
use crate::ast::{Body, Path, Statement, plain};
use crate::diagnostics::Mistake;
use crate::layers;

fn body(input: ParseStream) -> Result<Body> {
    if !input.peek(token::Brace) {
        return Err(at_next_token(
            input,
            "expected a body",
            "write the layers in braces: `{ flatten; linear(10) }`",
        ));
    }
    let content;
    let brace = braced!(content in input);
    let mut statements = Vec::new();
    let mut wrong_separator = false;
    while !content.is_empty() {
        if content.peek(Token![;]) {
            // Nothing, or the `;` that may follow a closing brace.
            let _ = content.parse::<Token![;]>();
            continue;
        }
        let ahead = content.fork();
        let mut read = Vec::new();
        match statement(&ahead, &mut read) {
            Ok(()) => {
                content.advance_to(&ahead);
                let ends_by_brace = matches!(
                    read.last(),
                    Some(
                        Statement::Repeat { .. }
                            | Statement::Concat { .. }
                            | Statement::If { .. }
                            | Statement::Scan(_)
                    )
                );
                statements.append(&mut read);
                let end = if ends_by_brace { End::Free } else { End::Separator };
                separator(&content, end, &mut wrong_separator, &mut statements);
            }
            Err(error) => {
                statements.push(Statement::Malformed(error));
                skip_statement(&content);
            }
        }
    }
    Ok(Body { brace, statements })
}

/// What must follow a statement.
enum End {
    /// A `;`, unless the body ends.
    Separator,
    /// Anything: the statement ended with a brace.
    Free,
}

/// Parses the `;` after a statement. Other separators are accepted, and the first of a body is reported.
fn separator(input: ParseStream, end: End, reported: &mut bool, statements: &mut Vec<Statement>) {
    if input.is_empty() || input.peek(Token![;]) {
        return;
    }
    if input.peek(Token![,]) || input.peek(Token![.]) {
        let found = if input.peek(Token![,]) { "," } else { "." };
        if !std::mem::replace(reported, true) {
            let text = format!("expected `;` between two layers, found `{found}`");
            let error = at_next_token(input, &text, &format!("write `;` instead of `{found}`"));
            statements.push(Statement::Slip(error));
        }
        let _ = input.parse::<TokenTree>();
        return;
    }
    if let End::Free = end {
        return;
    }
    let error = at_next_token(input, "expected `;` between two layers", "put a `;` before this");
    if input.peek(Ident::peek_any) {
        statements.push(Statement::Slip(error));
    } else {
        statements.push(Statement::Malformed(error));
        skip_statement(input);
    }
}

/// Parses a statement: several if layers are nested or follow a `let`, which is a reported slip.
fn statement(input: ParseStream, read: &mut Vec<Statement>) -> Result<()> {
    if input.peek(Token![let]) {
        input.parse::<Token![let]>()?;
        if input.peek(token::Paren) {
            read.push(split(input)?);
            return Ok(());
        }
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        if scan::names_states(input) {
            read.push(scan::states(input, vec![name])?);
            return Ok(());
        }
        return assigned(input, Assignment::Let(name), read);
    }
    if input.peek(Token![if]) {
        read.push(condition(input)?);
        return Ok(());
    }
    if !input.peek(Ident::peek_any) {
        return Err(at_next_token(
            input,
            "expected a layer",
            "for example `conv2d(16, kernel_size = 3)` or `relu`",
        ));
    }
    if input.peek2(Token![=]) && !input.peek2(Token![==]) {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        return assigned(input, Assignment::Output(name), read);
    }
    let label = if input.peek2(Token![:]) && !input.peek2(Token![::]) {
        let label = input.parse()?;
        input.parse::<Token![:]>()?;
        Some(label)
    } else {
        None
    };
    let name: Ident = input.parse()?;
    layer(input, label, name, read)
}

/// `(first, second) = value` or `(first: 16, second: 48) = value`, after `let`.
fn split(input: ParseStream) -> Result<Statement> {
    const EXAMPLE: &str =
        "write `let (first, second) = it;`, or with sizes `let (first: 16, second: 48) = it;`";
    let content;
    parenthesized!(content in input);
    let mut names = Vec::new();
    while !content.is_empty() {
        if !content.peek(Ident) {
            return Err(at_next_token(&content, "expected the name of a part", EXAMPLE));
        }
        let name: Ident = content.parse()?;
        let size = match content.parse::<Option<Token![:]>>()? {
            Some(_) => Some(content.parse()?),
            None => None,
        };
        names.push((name, size));
        if !content.is_empty() && content.parse::<Option<Token![,]>>()?.is_none() {
            return Err(at_next_token(&content, "expected `,` between two parts", EXAMPLE));
        }
    }
    if !input.peek(Token![=]) {
        return Err(at_next_token(input, "expected `=`", EXAMPLE));
    }
    input.parse::<Token![=]>()?;
    if !input.peek(Ident) {
        return Err(at_next_token(input, "expected `it` or the name of a value", EXAMPLE));
    }
    if scan::names_states(input) {
        if let Some((_, Some(size))) = names.iter().find(|(_, size)| size.is_some()) {
            return Err(error(size, "states have the sizes of their layer", "leave the size out"));
        }
        return scan::states(input, names.into_iter().map(|(name, _)| name).collect());
    }
    let value: Ident = input.parse()?;
    Ok(Statement::Split { names, value })
}

/// `if condition { … }`, perhaps followed by `else { … }` or `else if …`.
fn condition(input: ParseStream) -> Result<Statement> {
    let keyword = Ident::parse_any(input)?;
    let condition = Box::new(Expr::parse_without_eager_brace(input)?);
    let then = body(input)?;
    let otherwise = if input.peek(Token![else]) {
        input.parse::<Token![else]>()?;
        Some(if input.peek(Token![if]) { condition_body(input)? } else { body(input)? })
    } else {
        None
    };
    Ok(Statement::If { keyword, condition, then, otherwise })
}

/// `else if` as a body with a single statement.
fn condition_body(input: ParseStream) -> Result<Body> {
    let brace = token::Brace(input.span());
    let statement = condition(input)?;
    Ok(Body { brace, statements: vec![statement] })
}

/// A layer, or a structure that begins like one, after its first word.
fn layer(input: ParseStream, label: Option<Ident>, name: Ident, read: &mut Vec<Statement>) -> Result<()> {
    let name = without_prefix(input, name, read)?;
    let statement = match plain(&name).as_str() {
        "it" if label.is_none() => Statement::It(name),
        "repeat" if input.peek(token::Brace) => {
            return Err(error(&name, "`repeat` needs a count", "write `repeat 3 { … }`"));
        }
        "repeat" if !input.peek(token::Paren) || input.peek2(token::Brace) => {
            let index = if input.peek(Ident) && input.peek2(Token![in]) {
                let index = input.parse()?;
                input.parse::<Token![in]>()?;
                Some(index)
            } else {
                None
            };
            let count = Box::new(Expr::parse_without_eager_brace(input)?);
            Statement::Repeat { label, keyword: name, index, count, body: body(input)? }
        }
        "concat" if input.peek(token::Brace) => {
            Statement::Concat { label, keyword: name, paths: paths(input)? }
        }
        "scan" => scan::scan(input, label, name)?,
        _ => Statement::Call { label, call: call(input, name, read)? },
    };
    read.push(statement);
    Ok(())
}

/// `nn.Linear` and `nn::Linear`: the last word, or the layer it most likely means.
fn without_prefix(input: ParseStream, first: Ident, read: &mut Vec<Statement>) -> Result<Ident> {
    // A `.` after a layer separates it from the next.
    if layers::find(&plain(&first)).is_some() {
        return Ok(first);
    }
    let mut words = vec![first.clone()];
    while input.peek(Token![.]) && input.peek2(Ident) || input.peek(Token![::]) && input.peek3(Ident) {
        if input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
        } else {
            input.parse::<Token![::]>()?;
        }
        words.push(input.parse()?);
    }
    let Some(last) = words.pop().filter(|_| !words.is_empty()) else { return Ok(first) };
    let Some(meant) = layers::meant(&plain(&last)) else { return Ok(last) };
    let prefix: Vec<String> = words.iter().map(plain).collect();
    let text = format!("layers have no prefix `{}`", prefix.join("."));
    read.push(Statement::Slip(error(&first, &text, &format!("write `{meant}`"))));
    Ok(Ident::new(meant, last.span()))
}

/// The text before the `=` of an assignment.
enum Assignment {
    Let(Ident),
    Output(Ident),
}

/// The right side of an assignment: `it` or the name of a value. A layer there is a frequent mistake.
fn assigned(input: ParseStream, target: Assignment, read: &mut Vec<Statement>) -> Result<()> {
    if !input.peek(Ident) {
        let help = "put the layers before it: `conv2d(16, kernel_size = 3); let name = it;`";
        return Err(at_next_token(input, "expected `it` or the name of a value", help));
    }
    let value: Ident = input.parse()?;
    let is_value = input.is_empty() || input.peek(Token![;]) || input.peek(Token![,]);
    if is_value || input.peek(Ident::peek_any) && value != "repeat" {
        read.push(match target {
            Assignment::Let(name) => Statement::Let { name, value },
            Assignment::Output(name) => Statement::Output { name, value },
        });
        return Ok(());
    }
    if input.peek(Token![+]) {
        return Err(error(
            &value,
            "values are added with `add`",
            &format!("for example `from({value}); add(…)`"),
        ));
    }
    let mut layers = Vec::new();
    let (label, name) = match &target {
        Assignment::Let(name) => (None, name.clone()),
        Assignment::Output(name) => (Some(name.clone()), name.clone()),
    };
    layer(input, label, value.clone(), &mut layers)?;
    let words = match layers.last() {
        Some(Statement::Call { call, .. }) => call.to_string(),
        _ => format!("{value} …"),
    };
    let (text, help) = match target {
        Assignment::Let(_) => {
            ("`let` names a value, not a layer", format!("write `{words}; let {name} = it`"))
        }
        Assignment::Output(_) => (
            "a layer cannot be assigned",
            format!(
                "to label the layer write `{name}: {words}`; to assign the output `{name}` write `{words}; {name} = it`"
            ),
        ),
    };
    read.push(Statement::Slip(error(&value, text, &help)));
    read.append(&mut layers);
    if let Assignment::Let(name) = target {
        read.push(Statement::Let { name, value: Ident::new("it", value.span()) });
    }
    Ok(())
}

const PATH_EXAMPLE: &str =
    "write each path in its own braces: `concat { { relu } { conv2d(16, kernel_size = 1) } }`";

fn paths(input: ParseStream) -> Result<Vec<Path>> {
    let content;
    braced!(content in input);
    let mut paths = Vec::new();
    while !content.is_empty() {
        if content.peek(token::Brace) {
            paths.push(Path::Body(body(&content)?));
        } else if content.peek(Ident) && !content.peek2(token::Paren) && !content.peek2(Token![:]) {
            let name: Ident = content.parse()?;
            if content.peek(Token![;]) {
                return Err(error(&name, "expected a path", PATH_EXAMPLE));
            }
            paths.push(Path::Value(name));
        } else {
            return Err(at_next_token(&content, "expected a path", PATH_EXAMPLE));
        }
        if content.peek(Token![,]) {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(paths)
}

fn error(at: &dyn quote::ToTokens, text: &str, help: &str) -> syn::Error {
    syn::Error::new_spanned(at.to_token_stream(), Mistake::new(text).help(help.to_owned()))
}

fn at_next_token(input: ParseStream, text: &str, help: &str) -> syn::Error {
    syn::Error::new(input.span(), Mistake::new(text).help(help.to_owned()))
}

/// Skips past the next `{ … }` or `;`, where an item ends.
fn skip_item(input: ParseStream) {
    skip_statement(input);
    if item::begins_loss(input) {
        skip_statement(input);
    }
    let _ = input.parse::<Option<Token![;]>>();
}

/// Skips past the next `{ … }` or up to the next `;`, where a statement ends.
fn skip_statement(input: ParseStream) {
    skip_while(input, |input| !input.peek(Token![;]));
}

fn skip_while(input: ParseStream, go_on: impl Fn(ParseStream) -> bool) {
    while !input.is_empty() && go_on(input) {
        if let Ok(TokenTree::Group(group)) = input.parse::<TokenTree>()
            && group.delimiter() == Delimiter::Brace
        {
            return;
        }
    }
}
