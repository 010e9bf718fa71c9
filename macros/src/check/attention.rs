//! Checks attention to named values: `attention`, `additive_attention` and `cross_attention`.

use proc_macro2::Ident;
use syn::Expr;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{AttentionMask, Heads, Layer};

use super::Checker;
use super::arguments::{Signature, Slot};
use super::scope::{Environment, Flow, Labels};
use crate::ast::{Call, plain, source};
use crate::diagnostics::Mistake;
use crate::layers::{self, ArgumentRule, Default, Kind, LayerRule, Setting};

const CAUSAL: ArgumentRule = ArgumentRule {
    name: "causal",
    also: &["is_causal", "use_causal_mask"],
    kind: Kind::Flag,
    default: Default::Is(Setting::Flag(false)),
};

const HIDDEN: ArgumentRule = ArgumentRule {
    name: "hidden",
    also: &["features", "units", "hidden_size"],
    kind: Kind::Size,
    default: Default::Required,
};

/// Whether a word is a kind of attention.
pub(super) fn is_kind(word: &str) -> bool {
    matches!(word, "attention" | "additive_attention" | "cross_attention")
}

/// The rule of a kind of attention, for its arguments behind the named values.
const fn rule(name: &'static str, arguments: &'static [ArgumentRule], example: &'static str) -> LayerRule {
    LayerRule { name, also: &[], known: None, arguments, example, make: |_| None, settings: |_| None }
}

impl Checker<'_, '_> {
    /// `attention(keys, values)`, `additive_attention(keys, values, 16)` or `cross_attention(memory, 4)`: the current value
    /// is the queries.
    pub(super) fn attention(
        &mut self,
        label: Option<&Ident>,
        call: &Call,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let Some(heads) = layers::find("multi_head_attention") else { return Flow::Unknown };
        let word = plain(&call.name);
        let (count, rule, needs) = match word.as_str() {
            "attention" => {
                (2, rule("attention", &[CAUSAL], "attention(keys, values)"), "the names of keys and values")
            }
            "additive_attention" => {
                let example = "additive_attention(keys, values, 16)";
                (2, rule("additive_attention", &[HIDDEN, CAUSAL], example), "the names of keys and values")
            }
            _ => {
                let example = "cross_attention(memory, 4)";
                (1, rule("cross_attention", heads.arguments, example), "the name of the value it attends to")
            }
        };
        let name = labels.name(label, rule.name);
        let it = self.flowing(it, call, environment);
        let arguments = call.arguments();
        let names: Vec<&Ident> = arguments
            .iter()
            .take(count)
            .map_while(|argument| match &argument.value {
                Expr::Path(path) if argument.name.is_none() => path.path.get_ident(),
                _ => None,
            })
            .collect();
        if names.len() < count {
            let text =
                arguments.get(names.len()).map(|argument| format!(", not `{}`", source(&argument.value)));
            let mistake = Mistake::new(format!("`{word}` needs {needs}{}", text.unwrap_or_default()))
                .help(format!("for example `let memory = it; from(queries); {}`", rule.example));
            self.errors.report(call, mistake);
            environment.forgiving = true;
            return Flow::Unknown;
        }
        let flows: Vec<Flow> = names.iter().map(|other| self.named_flow(other, environment, it)).collect();
        let rest = Call {
            name: call.name.clone(),
            arguments: call.arguments.as_ref().map(|(paren, all)| (*paren, all[count..].to_vec())),
        };
        let operands = layers::operands(rule.name);
        let slots = rule.arguments.iter().map(Slot::of_layer);
        let slots: Vec<Slot> = slots.chain(operands.iter().map(Slot::of_value)).collect();
        let signature = Signature { slots: &slots, example: rule.example, known: None };
        let Some(bound) = self.bind(&rest, &signature, environment) else {
            environment.forgiving = true;
            return Flow::Unknown;
        };
        let (bound, given) = bound.split_at(rule.arguments.len());
        let settings = self.settings(&rule, bound, environment, None);
        let lengths = self.named_operands(operands, given, environment, it);
        let (Flow::Value(query), Some(lengths)) = (it, lengths) else { return Flow::Unknown };
        let values: Vec<_> = flows
            .iter()
            .filter_map(|flow| match flow {
                Flow::Value(value) => Some(*value),
                Flow::Unknown | Flow::Nothing => None,
            })
            .collect();
        let (key, value) = match values[..] {
            [memory] if count == 1 => (memory, memory),
            [key, value] => (key, value),
            _ => return Flow::Unknown,
        };
        let operands = [query, key, value];
        let causal = settings.get("causal") == Some(Setting::Flag(true));
        let mask = AttentionMask { causal, lengths: lengths.lengths };
        let before = self.builder.graph().nodes().len();
        let result = match (word.as_str(), settings.get("hidden"), (heads.make)(&settings)) {
            ("attention", ..) => self.builder.attention(&name, operands, &mask),
            ("additive_attention", Some(Setting::Size(hidden)), _) => {
                self.builder.additive_attention(&name, operands, hidden, &mask)
            }
            (_, _, Some(Layer::MultiHeadAttention { heads, bias, init, .. })) => {
                self.builder.multi_head_attention(&name, operands, &Heads { heads, bias, init }, &mask)
            }
            _ => return Flow::Unknown,
        };
        match result {
            Ok(value) => {
                let parameters = self.parameters_since(before);
                self.record(value, name, rule.name, &call.to_string(), call.name.span(), parameters)
            }
            Err(GraphError::Shape { error, .. }) => {
                let shape = |value| self.builder.graph().ty(value).shape.display_item();
                let others = names.iter().zip(&values);
                let others: Vec<String> =
                    others.map(|(other, value)| format!("`{}` is {}", plain(other), shape(*value))).collect();
                let (query, others) = (shape(query), others.join(", "));
                let mistake =
                    Mistake::new(format!("`{call}` {error}: the current value is {query}, and {others}"));
                self.report_here(call, mistake.help(error.help()));
                it
            }
            Err(error) => {
                self.errors.report(call, Mistake::new(format!("`{call}`: {error}")));
                Flow::Unknown
            }
        }
    }
}
