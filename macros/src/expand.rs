//! Converts checked networks to Rust: a type for each network, with its interface as constants and its graph as text.

use std::collections::HashSet;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Path, Token, Visibility};
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::Dim;

use crate::ast::{Constant, Outputs, plain};
use crate::check::{Checked, Finding, Findings, LayerRow, SINGLE_OUTPUT, Value, is_primitive};

/// The expansion of a program without mistakes.
pub(crate) fn program(findings: &Findings) -> TokenStream {
    let networks = findings.networks.iter().map(network);
    let constants = findings.constants.iter().map(|(constant, value)| rust_constant(constant, value));
    quote! { #(#constants)* #(#networks)* }
}

/// A constant of the language as one of the program, if Rust has a type for it.
pub(crate) fn rust_constant(constant: &Constant, value: &Value) -> TokenStream {
    let (kind, value) = match value {
        Value::Exact(number) if number.is_integer() => match usize::try_from(*number.numer()) {
            Ok(size) => (quote!(usize), Literal::usize_unsuffixed(size).to_token_stream()),
            Err(_) => return TokenStream::new(),
        },
        Value::Real(number) => {
            let sign = (*number < 0.0).then(|| quote!(-));
            let magnitude = Literal::f64_unsuffixed(number.abs());
            (quote!(f64), quote!(#sign #magnitude))
        }
        Value::Flag(flag) => (quote!(bool), quote!(#flag)),
        Value::Exact(_) | Value::Tuple(_) | Value::Layer(_) | Value::Unknown => return TokenStream::new(),
    };
    let Constant { attributes, visibility, name, .. } = constant;
    quote! {
        #(#attributes)*
        #[allow(dead_code)]
        #visibility const #name: #kind = #value;
    }
}

/// A network's type. Without a graph, it is the type of a network with mistakes, so that the rest of the user's program
/// resolves.
pub(crate) fn network(finding: &Finding) -> TokenStream {
    let ports = Ports::of(finding);
    let Finding { visibility, name, attributes, parameters, checked, .. } = finding;
    let targets = finding.network.loss.as_ref().map(|loss| {
        let names: Vec<String> = loss.targets.iter().map(|port| format!("`{}`", port.name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    });
    let network = Declaration {
        visibility,
        name,
        attributes,
        parameters: parameters.as_deref(),
        loss: targets.as_deref(),
        checked: checked.as_ref(),
    };
    declaration(&network, &ports)
}

/// An input or output.
pub(crate) struct Port {
    name: Ident,
    text: String,
    sizes: Vec<Dim>,
    /// Whether its elements are indices.
    of_index: bool,
}

impl Port {
    /// The type of a batch of it.
    fn samples(&self) -> TokenStream {
        if self.of_index { quote!(::windlass::IndexInput) } else { quote!(::windlass::Input) }
    }

    /// What a batch of it holds, for documentation.
    fn words(&self) -> String {
        format!("{:?}{}", self.sizes, if self.of_index { " of index" } else { "" })
    }

    /// The sizes, if all are known at compile time.
    fn fixed(&self) -> Option<Vec<usize>> {
        self.sizes.iter().map(Dim::fixed).collect()
    }
}

/// The interface of a network.
#[derive(Default)]
pub(crate) struct Ports {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Whether results are returned in a struct.
    outputs_named: bool,
}

impl Ports {
    fn of(finding: &Finding) -> Self {
        let network = finding.network;
        let mut names = HashSet::new();
        // Equal names are reported by `check`; here they would cause further errors.
        let mut port = |name: &Ident, sizes: &[Dim], of_index: bool| {
            let text = plain(name);
            names.insert(text.to_uppercase()).then(|| Port {
                name: name.clone(),
                text,
                sizes: sizes.to_vec(),
                of_index,
            })
        };
        let inputs = network
            .inputs
            .iter()
            .zip(&finding.inputs)
            .filter_map(|(declared, sizes)| port(&declared.name, sizes, declared.of_index.is_some()))
            .collect();
        let outputs = match &network.outputs {
            Outputs::Missing => Vec::new(),
            Outputs::Single(_) => {
                port(&format_ident!("{SINGLE_OUTPUT}"), &finding.outputs[0], false).into_iter().collect()
            }
            Outputs::Named(ports) => ports
                .iter()
                .zip(&finding.outputs)
                .filter_map(|(declared, sizes)| port(&declared.name, sizes, false))
                .collect(),
        };
        Ports { inputs, outputs, outputs_named: matches!(network.outputs, Outputs::Named(_)) }
    }
}

/// A network without its interface.
pub(crate) struct Declaration<'a> {
    pub(crate) visibility: &'a Visibility,
    pub(crate) name: &'a Ident,
    pub(crate) attributes: &'a [Attribute],
    /// The network with the values of its parameters, if it has any.
    pub(crate) parameters: Option<&'a str>,
    /// The targets of its loss in words, if it declares one.
    pub(crate) loss: Option<&'a str>,
    pub(crate) checked: Option<&'a Checked>,
}

/// The items of one network.
pub(crate) fn declaration(network: &Declaration, ports: &Ports) -> TokenStream {
    let &Declaration { visibility, name, attributes, parameters, checked, .. } = network;
    // It is already an error; declaring it would shadow `f32` in the rest of the program.
    if is_primitive(name) {
        return TokenStream::new();
    }
    let conditions: Vec<&Attribute> =
        attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let summary = match attributes.iter().any(|attribute| attribute.path().is_ident("doc")) {
        true => None,
        false => Some(format!("The network `{}`.", plain(name))),
    };
    let summary = summary.map(|text| quote!(#[doc = #text]));
    let documentation = checked.map(|checked| documentation(ports, parameters, checked));
    let derives = derives(attributes);
    let constants = constants(visibility, ports, checked.map(|checked| &checked.graph));
    let loss = loss(visibility, network);
    let implementation = implementation(name, ports, checked.map(|checked| &checked.graph));
    let (input_struct, output_struct) = (
        input_struct(visibility, &conditions, name, ports),
        output_struct(visibility, &conditions, name, ports),
    );
    quote! {
        #(#attributes)*
        #summary
        #documentation
        #derives
        #visibility struct #name;

        #(#conditions)*
        #[allow(dead_code, deprecated)]
        impl #name {
            #constants

            /// The network as declared, shapes checked.
            #visibility fn graph() -> &'static ::windlass::Graph {
                <Self as ::windlass::Network>::graph()
            }

            /// Layers, shapes, parameters, multiply-adds, receptive fields and memory, as a table.
            #visibility fn summary() -> ::windlass::Summary {
                ::windlass::summary(Self::graph())
            }

            /// A model with initial values drawn from a seed, compiled for prediction.
            #visibility fn model(seed: u64) -> ::core::result::Result<::windlass::Model<Self>, ::windlass::Error> {
                ::windlass::Model::new(seed)
            }

            /// A model with the parameters of a file, compiled for prediction.
            #visibility fn load(
                path: impl ::core::convert::AsRef<::std::path::Path>,
            ) -> ::core::result::Result<::windlass::Model<Self>, ::windlass::Error> {
                ::windlass::Model::load(path)
            }

            #loss
        }

        #(#conditions)*
        #[automatically_derived]
        #[allow(deprecated)]
        #implementation

        #input_struct

        #output_struct
    }
}

/// The function that returns the loss, if the network declares one.
fn loss(visibility: &Visibility, network: &Declaration) -> Option<TokenStream> {
    let targets = network.loss?;
    let body = match network.checked.and_then(|checked| checked.loss.as_ref()) {
        Some(graph) => {
            let text = graph.to_string();
            quote! {
                static LOSS: ::std::sync::OnceLock<::windlass::Loss> = ::std::sync::OnceLock::new();
                LOSS.get_or_init(|| ::windlass::__private::embedded_loss(#text)).clone()
            }
        }
        None => quote!(::core::unreachable!("the network has mistakes, so that no program was built")),
    };
    let doc = format!("The loss that the network declares. Its targets are {targets}.");
    Some(quote! {
        #[doc = #doc]
        #visibility fn loss() -> ::windlass::Loss {
            #body
        }
    })
}

/// The traits that every network derives, except those that its attributes derive.
fn derives(attributes: &[Attribute]) -> TokenStream {
    let derived: Vec<Path> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .filter_map(|attribute| {
            attribute.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).ok()
        })
        .flatten()
        .collect();
    let missing = ["Clone", "Copy", "Debug"].into_iter().filter(|name| {
        !derived.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name))
    });
    let missing = missing.map(|name| format_ident!("{name}"));
    quote!(#[derive(#(#missing),*)])
}

/// `IMAGE_SHAPE`, `OUTPUT_SHAPE`, `CLASSES` and `PARAMETERS`.
fn constants(visibility: &Visibility, ports: &Ports, graph: Option<&Graph>) -> TokenStream {
    let shape = |port: &Port, kind: &str| {
        let constant = Ident::new(&format!("{}_SHAPE", port.text.to_uppercase()), port.name.span());
        let doc = format!("Sizes of one sample of the {kind} `{}`.", port.text);
        let sizes = port.fixed()?;
        let (sizes, rank) = (literals(&sizes), Literal::usize_unsuffixed(sizes.len()));
        Some(quote! {
            #[doc = #doc]
            #visibility const #constant: [usize; #rank] = [#(#sizes),*];
        })
    };
    let inputs = ports.inputs.iter().filter_map(|port| shape(port, "input"));
    let outputs = ports.outputs.iter().filter_map(|port| shape(port, "output"));
    let classes = match &ports.outputs[..] {
        [port]
            if let Some([classes]) = port.fixed().as_deref()
                && !ports.outputs_named =>
        {
            let classes = Literal::usize_unsuffixed(*classes);
            quote! {
                /// The length of the output: the number of classes of a classifier.
                #visibility const CLASSES: usize = #classes;
            }
        }
        _ => TokenStream::new(),
    };
    let parameters = graph.into_iter().flat_map(Graph::parameters).map(|(_, parameter)| {
        let (name, sizes) = (&parameter.name, literals(&parameter.shape.item()));
        quote!((#name, &[#(#sizes),*]))
    });
    quote! {
        #(#inputs)*
        #(#outputs)*
        #classes

        /// The trainable parameters in declaration order: each a name and its sizes.
        #visibility const PARAMETERS: &'static [(&'static str, &'static [usize])] = &[#(#parameters),*];
    }
}

fn implementation(name: &Ident, ports: &Ports, graph: Option<&Graph>) -> TokenStream {
    let text = plain(name);
    let list = |ports: &[Port]| {
        let names = ports.iter().map(|port| &port.text);
        quote!(&[#(#names),*])
    };
    let (inputs, outputs) = (list(&ports.inputs), list(&ports.outputs));
    let graph = match graph {
        Some(graph) => {
            let text = graph.to_string();
            quote! {
                static GRAPH: ::std::sync::OnceLock<::windlass::Graph> = ::std::sync::OnceLock::new();
                GRAPH.get_or_init(|| ::windlass::__private::embedded(#text))
            }
        }
        None => quote!(::core::unreachable!("the network has mistakes, so that no program was built")),
    };
    let input_type = match input_names(name, ports) {
        Some(inputs) => quote!(#inputs<'a>),
        None => {
            let samples = ports.inputs.first().map_or_else(|| quote!(::windlass::Input), Port::samples);
            quote!(#samples<'a>)
        }
    };
    let feeds = match &ports.inputs[..] {
        [_] => quote!([::windlass::Feed::from(inputs)]),
        inputs => {
            let names = inputs.iter().map(|port| &port.name);
            quote!([#(::windlass::Feed::from(inputs.#names)),*])
        }
    };
    let (output_type, results) = match output_names(name, ports) {
        Some(outputs) => {
            let names: Vec<&Ident> = ports.outputs.iter().map(|port| &port.name).collect();
            let results = quote! {
                let [#(#names),*] = results;
                #outputs { #(#names),* }
            };
            (quote!(#outputs), results)
        }
        None => {
            let results = match &ports.outputs[..] {
                [_] => quote! {
                    let [output] = results;
                    output
                },
                _ => quote!(::core::unreachable!("the network has mistakes, so that no program was built")),
            };
            (quote!(::windlass::ndarray::ArrayD<f32>), results)
        }
    };
    let count = |ports: &[Port]| Literal::usize_unsuffixed(ports.len());
    let (input_count, output_count) = (count(&ports.inputs), count(&ports.outputs));
    quote! {
        impl ::windlass::Network for #name {
            const NAME: &'static str = #text;
            const INPUTS: &'static [&'static str] = #inputs;
            const OUTPUTS: &'static [&'static str] = #outputs;

            const VALUE: Self = Self;

            type Inputs<'a> = #input_type;
            type Outputs = #output_type;
            type Feeds<'a> = [::windlass::Feed<'a>; #input_count];
            type Results = [::windlass::ndarray::ArrayD<f32>; #output_count];

            fn graph() -> &'static ::windlass::Graph {
                #graph
            }

            fn feeds(inputs: Self::Inputs<'_>) -> Self::Feeds<'_> {
                #feeds
            }

            fn results(
                make: impl ::core::ops::FnMut(usize) -> ::windlass::ndarray::ArrayD<f32>,
            ) -> Self::Results {
                ::core::array::from_fn(make)
            }

            fn outputs(results: Self::Results) -> Self::Outputs {
                #results
            }
        }
    }
}

/// The name of the struct that holds several inputs.
fn input_names(name: &Ident, ports: &Ports) -> Option<Ident> {
    (ports.inputs.len() > 1).then(|| format_ident!("{name}Inputs"))
}

/// The name of the struct that holds named outputs.
fn output_names(name: &Ident, ports: &Ports) -> Option<Ident> {
    (ports.outputs_named && !ports.outputs.is_empty()).then(|| format_ident!("{name}Outputs"))
}

fn input_struct(
    visibility: &Visibility,
    conditions: &[&Attribute],
    name: &Ident,
    ports: &Ports,
) -> TokenStream {
    let Some(inputs) = input_names(name, ports) else { return TokenStream::new() };
    let doc = format!("The inputs of a run of [`{name}`].");
    let names: Vec<&Ident> = ports.inputs.iter().map(|port| &port.name).collect();
    let docs = ports.inputs.iter().map(|port| format!("A batch of `{}`.", port.words()));
    let samples: Vec<TokenStream> = ports.inputs.iter().map(Port::samples).collect();
    quote! {
        #(#conditions)*
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #visibility struct #inputs<'a> {
            #(#[doc = #docs] pub #names: #samples<'a>,)*
        }

        #(#conditions)*
        #[allow(dead_code)]
        impl<'a> #inputs<'a> {
            /// Inputs from slices or arrays, in declaration order.
            #visibility fn new(#(#names: impl ::core::convert::Into<#samples<'a>>),*) -> Self {
                #inputs { #(#names: #names.into()),* }
            }
        }
    }
}

fn output_struct(
    visibility: &Visibility,
    conditions: &[&Attribute],
    name: &Ident,
    ports: &Ports,
) -> TokenStream {
    let Some(outputs) = output_names(name, ports) else { return TokenStream::new() };
    let doc = format!("The outputs of a run of [`{name}`].");
    let names = ports.outputs.iter().map(|port| &port.name);
    let docs = ports.outputs.iter().map(|port| format!("A batch of `{:?}`.", port.sizes));
    quote! {
        #(#conditions)*
        #[doc = #doc]
        #[derive(Clone, Debug, PartialEq)]
        #visibility struct #outputs {
            #(#[doc = #docs] pub #names: ::windlass::ndarray::ArrayD<f32>,)*
        }
    }
}

fn literals(sizes: &[usize]) -> Vec<Literal> {
    sizes.iter().map(|size| Literal::usize_unsuffixed(*size)).collect()
}

/// The generated part of the network's documentation: shapes, and a table of layers.
fn documentation(ports: &Ports, parameters: Option<&str>, checked: &Checked) -> TokenStream {
    let row = |port: &Port| format!("`{}` `{}`", port.text, port.words());
    let list = |ports: &[Port]| ports.iter().map(row).collect::<Vec<_>>().join(", ");
    let values = parameters.map(|words| format!("`{words}`: ")).unwrap_or_default();
    let parameters: usize =
        checked.graph.parameters().map(|(_, parameter)| parameter.shape.item_elements()).sum();
    let mut text = format!(
        "\n# Layers\n\n{values}from {} to {}, with {} parameters.\n\n\
         | layer | kind | result | parameters |\n|---|---|---|---:|\n",
        list(&ports.inputs),
        list(&ports.outputs),
        grouped(parameters)
    );
    for LayerRow { label, kind, result, parameters } in &checked.layers {
        text.push_str(&format!("| `{label}` | `{kind}` | `{result:?}` | {} |\n", grouped(*parameters)));
    }
    quote!(#[doc = #text])
}

/// A number with thousands separators: `61,706`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
