//! The syntax tree of the language. Every node keeps the user's tokens for error positions; names are not resolved.

use std::fmt;

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Expr, Visibility, token};

/// Everything in one call of the macro.
pub(crate) struct Program {
    /// The libraries that its `use` items name, in that order, as far as their text is known.
    pub(crate) libraries: Vec<Provided>,
    pub(crate) items: Vec<Item>,
}

/// The text of a library, as its macro provides it.
pub(crate) struct Provided {
    /// Whether the declaration of the library has no mistakes.
    pub(crate) is_sound: bool,
    pub(crate) program: Program,
}

pub(crate) enum Item {
    Use(Use),
    Library(Library),
    Constant(Constant),
    Block(Block),
    Network(Network),
    Instance(Instance),
    Malformed(Malformed),
}

/// `use path::library::{block, other as name};`
pub(crate) struct Use {
    /// The library's macro.
    pub(crate) path: syn::Path,
    pub(crate) names: Imported,
}

/// What a `use` imports.
pub(crate) enum Imported {
    All,
    Names(Vec<Import>),
}

/// A name of a library, and perhaps another one for it.
pub(crate) struct Import {
    pub(crate) name: Ident,
    pub(crate) alias: Option<Ident>,
}

impl Import {
    /// The name in the program that imports it.
    pub(crate) fn local(&self) -> &Ident {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}

/// `pub(crate) library name;`
pub(crate) struct Library {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
}

/// `pub const NAME = 64;`
pub(crate) struct Constant {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// `pub network Name = Other<size = 96>;`
pub(crate) struct Instance {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) base: Ident,
    pub(crate) arguments: Vec<Argument>,
    /// The closing `>`, if there are arguments in brackets.
    pub(crate) end: Option<token::Gt>,
}

/// Spans from the name of the network to the end of its arguments.
impl ToTokens for Instance {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.base.to_tokens(tokens);
        self.end.to_tokens(tokens);
    }
}

/// An item that does not parse, with the parts that let the rest of the user's program resolve.
pub(crate) struct Malformed {
    pub(crate) error: syn::Error,
    pub(crate) network: Option<(Visibility, Ident)>,
}

/// `block name(a, (b, c), d = 1) { … }`
pub(crate) struct Block {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Body,
}

/// A parameter of a block or network, `stride` or `stride = 1`.
pub(crate) struct Parameter {
    pub(crate) pattern: Pattern,
    pub(crate) default: Option<Expr>,
}

/// The form of a parameter.
pub(crate) enum Pattern {
    Name(Ident),
    Tuple(Vec<Pattern>),
}

/// `pub network Name<classes = 10>(input: [1, 28, 28]) -> [classes] { … } loss(label: [] of index) { … }`
pub(crate) struct Network {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Outputs,
    pub(crate) body: Body,
    pub(crate) loss: Option<Loss>,
}

/// `loss(label: [] of index) { … }`, behind the body of a network.
pub(crate) struct Loss {
    pub(crate) keyword: Ident,
    pub(crate) targets: Vec<Port>,
    pub(crate) body: Body,
}

pub(crate) enum Outputs {
    /// The arrow is missing.
    Missing,
    /// `-> [10]`: the value at the end of the body.
    Single(Sizes),
    /// `-> (class: [10], size: [2])`: the values that the body assigns.
    Named(Vec<Port>),
}

/// A named input or output with the sizes of one sample.
pub(crate) struct Port {
    pub(crate) name: Ident,
    pub(crate) sizes: Sizes,
    /// The word `index` of `of index`: its elements are indices, not numbers.
    pub(crate) of_index: Option<Ident>,
}

/// `[1, 28, 28]`
pub(crate) struct Sizes {
    pub(crate) bracket: token::Bracket,
    pub(crate) sizes: Vec<Expr>,
}

/// `{ statement; statement }`
pub(crate) struct Body {
    pub(crate) brace: token::Brace,
    pub(crate) statements: Vec<Statement>,
}

pub(crate) enum Statement {
    /// `let name = value;`
    Let { name: Ident, value: Ident },
    /// `let (first, second) = value;` or `let (first: 16, second: 48) = value;`
    Split { names: Vec<(Ident, Option<Expr>)>, value: Ident },
    /// `name = value;`
    Output { name: Ident, value: Ident },
    /// `it`
    It(Ident),
    /// A layer, a block, `add` or `from`.
    Call { label: Option<Ident>, call: Call },
    /// `repeat count { … }` or `repeat index in count { … }`
    Repeat { label: Option<Ident>, keyword: Ident, index: Option<Ident>, count: Box<Expr>, body: Body },
    /// `if condition { … } else { … }`
    If { keyword: Ident, condition: Box<Expr>, then: Body, otherwise: Option<Body> },
    /// `concat { path path }`
    Concat { label: Option<Ident>, keyword: Ident, paths: Vec<Path> },
    /// `scan (h: [64], frame in frames) { … }`
    Scan(Scan),
    /// `let (h, c) = r.states;`
    States { names: Vec<Ident>, label: Ident },
    /// A mistake whose meaning is clear. The following statements are what the user meant.
    Slip(syn::Error),
    /// Reported when the body is checked, so that the rest of it is checked too.
    Malformed(syn::Error),
}

/// A loop over the steps of sequences.
pub(crate) struct Scan {
    pub(crate) label: Option<Ident>,
    pub(crate) keyword: Ident,
    /// The word `reverse`, if the last step comes first.
    pub(crate) reverse: Option<Ident>,
    pub(crate) carried: Vec<Carried>,
    /// `frame in frames`: the name of a step, and the sequence.
    pub(crate) sequences: Vec<(Ident, Ident)>,
    pub(crate) body: Body,
}

/// A value that the steps of a scan hand on.
pub(crate) struct Carried {
    pub(crate) name: Ident,
    pub(crate) initial: Initial,
}

/// What a carried value is before the first step.
pub(crate) enum Initial {
    /// `h: [64]`: zeros.
    Zeros(Sizes),
    /// `h = start`: `it` or the name of a value.
    Value(Ident),
}

/// One of the values that `concat` concatenates.
pub(crate) enum Path {
    Body(Body),
    /// `it` or the name of a value.
    Value(Ident),
}

/// `name`, `name()` or `name(1, argument = 2)`
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) name: Ident,
    pub(crate) arguments: Option<(token::Paren, Vec<Argument>)>,
}

#[derive(Clone)]
pub(crate) struct Argument {
    pub(crate) name: Option<Ident>,
    pub(crate) value: Expr,
}

impl Call {
    /// A Rust call as a call of the language.
    pub(crate) fn of(call: &syn::ExprCall) -> Option<Self> {
        let Expr::Path(path) = &*call.func else { return None };
        let arguments = call.args.iter().map(|argument| match argument {
            Expr::Assign(assign) => match &*assign.left {
                Expr::Path(path) => {
                    Argument { name: path.path.get_ident().cloned(), value: (*assign.right).clone() }
                }
                _ => Argument { name: None, value: (*assign.right).clone() },
            },
            value => Argument { name: None, value: value.clone() },
        });
        let arguments = arguments.collect();
        Some(Call { name: path.path.get_ident()?.clone(), arguments: Some((call.paren_token, arguments)) })
    }

    pub(crate) fn arguments(&self) -> &[Argument] {
        self.arguments.as_ref().map_or(&[], |(_, arguments)| arguments)
    }
}

/// The name without `r#`.
pub(crate) fn plain(name: &Ident) -> String {
    name.unraw().to_string()
}

/// Spans from the name to the closing parenthesis, which is enough for the position of an error.
impl ToTokens for Call {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.name.to_tokens(tokens);
        if let Some((paren, _)) = &self.arguments {
            paren.surround(tokens, |_| {});
        }
    }
}

impl ToTokens for Sizes {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.bracket.surround(tokens, |_| {});
    }
}

/// The call as source code on one line: `conv2d(16, kernel_size = 5)`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.name))?;
        if self.arguments.is_some() {
            f.write_str("(")?;
            for (index, argument) in self.arguments().iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                if let Some(name) = &argument.name {
                    write!(f, "{} = ", plain(name))?;
                }
                f.write_str(&source(&argument.value))?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Name(name) => f.write_str(&plain(name)),
            Pattern::Tuple(patterns) => {
                let words: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
                write!(f, "({})", words.join(", "))
            }
        }
    }
}

/// An expression as source code on one line.
pub(crate) fn source(expr: &Expr) -> String {
    let list = |items: &syn::punctuated::Punctuated<Expr, syn::Token![,]>| {
        items.iter().map(source).collect::<Vec<_>>().join(", ")
    };
    match expr {
        Expr::Binary(binary) => {
            format!("{} {} {}", source(&binary.left), binary.op.to_token_stream(), source(&binary.right))
        }
        Expr::Unary(unary) => format!("{}{}", unary.op.to_token_stream(), source(&unary.expr)),
        Expr::Paren(paren) => format!("({})", source(&paren.expr)),
        Expr::Group(group) => source(&group.expr),
        Expr::Tuple(tuple) => format!("({})", list(&tuple.elems)),
        Expr::Call(call) => format!("{}({})", source(&call.func), list(&call.args)),
        other => other.to_token_stream().to_string(),
    }
}
