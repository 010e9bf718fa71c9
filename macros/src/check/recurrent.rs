//! Checks the values that layers take by name, `initial` and `lengths`, and the states of recurrent layers.

use proc_macro2::Ident;
use syn::Expr;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{AttentionMask, Heads, Layer, RecurrentOperands};
use windlass_compiler::shape::{DType, Dim};

use super::Checker;
use super::arguments::counted;
use super::scope::{Environment, Flow, Labels};
use crate::ast::{Call, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{INITIAL, OperandRule};

/// The values that a call names.
#[derive(Default)]
pub(super) struct Operands {
    pub(super) initial: Vec<ValueId>,
    pub(super) lengths: Option<ValueId>,
}

impl Checker<'_, '_> {
    /// The values that a call names; `None` if some are unknown.
    pub(super) fn named_operands(
        &mut self,
        rules: &[OperandRule],
        bound: &[Option<&Expr>],
        environment: &Environment,
        it: Flow,
    ) -> Option<Operands> {
        let mut operands = Operands::default();
        let mut complete = true;
        for (rule, expr) in rules.iter().zip(bound) {
            let Some(expr) = expr else { continue };
            let Some(names) = names_of(expr) else {
                let mistake =
                    Mistake::new(format!("`{}` takes names of values, not `{}`", rule.name, source(expr)));
                self.report_here(expr, mistake.help(example(rule)));
                complete = false;
                continue;
            };
            let mut values = Vec::new();
            for name in names {
                match self.named_flow(name, environment, it) {
                    Flow::Value(value) => values.push(value),
                    Flow::Unknown | Flow::Nothing => complete = false,
                }
            }
            if rule.name == INITIAL.name {
                operands.initial = values;
            } else if let [value] = values[..] {
                complete &= self.expect_lengths(expr, value);
                operands.lengths = Some(value);
            } else if complete {
                let mistake = Mistake::new(format!("`{}` takes one value", rule.name));
                self.report_here(expr, mistake.help(example(rule)));
                complete = false;
            }
        }
        complete.then_some(operands)
    }

    fn expect_lengths(&mut self, at: &Expr, value: ValueId) -> bool {
        let is_whole = self.builder.graph().ty(value).dtype == DType::I32;
        let dims = self.builder.item_dims(value).to_vec();
        if is_whole && dims.is_empty() {
            return true;
        }
        let of = if is_whole { " of index" } else { "" };
        let mistake = Mistake::new(format!(
            "`lengths` needs one whole number for each sample, but this is {dims:?}{of}"
        ))
        .help("declare an input `steps: [] of index`".to_owned());
        self.report_here(at, mistake);
        false
    }

    /// Whether a recurrent layer can begin with the values of `initial`.
    pub(super) fn expect_initial(
        &mut self,
        at: &Expr,
        call: &Call,
        layer: &Layer,
        initial: &[ValueId],
    ) -> bool {
        let Layer::Recurrent(recurrent) = layer else { return true };
        let expected: Vec<Vec<Dim>> =
            recurrent.states().into_iter().map(|size| vec![Dim::from(size)]).collect();
        let given: Vec<Vec<Dim>> =
            initial.iter().map(|value| self.builder.item_dims(*value).to_vec()).collect();
        if initial.is_empty() || expected == given {
            return true;
        }
        let words = |shapes: &[Vec<Dim>]| {
            shapes.iter().map(|shape| format!("{shape:?}")).collect::<Vec<_>>().join(", ")
        };
        let mistake = Mistake::new(format!(
            "`{call}` begins with {} of {}, but `initial` gives {}",
            counted(expected.len(), "state"),
            words(&expected),
            words(&given)
        ));
        let help = match expected.len() == given.len() {
            true => "put `linear` behind a value to change its size",
            false => "give `h` of each layer and direction, for `lstm` `(h, c)`",
        };
        self.report_here(at, mistake.help(help.to_owned()));
        false
    }

    /// Adds a layer with the values that its call names.
    pub(super) fn build(
        &mut self,
        name: &str,
        layer: &Layer,
        x: ValueId,
        operands: &Operands,
    ) -> Result<ValueId, GraphError> {
        let &Operands { ref initial, lengths } = operands;
        match layer {
            Layer::Recurrent(recurrent) => {
                let operands = RecurrentOperands { initial, lengths };
                let recurrence = self.builder.recurrent(name, recurrent, x, &operands)?;
                self.states.insert(name.to_owned(), recurrence.last);
                Ok(recurrence.sequence)
            }
            Layer::MultiHeadAttention { heads, bias, causal, init } if lengths.is_some() => {
                let heads = Heads { heads: *heads, bias: *bias, init: *init };
                let mask = AttentionMask { causal: *causal, lengths };
                self.builder.multi_head_attention(name, [x; 3], &heads, &mask)
            }
            _ => self.builder.layer(name, layer, x),
        }
    }

    /// `let (h, c) = r.states;`: the values after the last step.
    pub(super) fn name_states(
        &mut self,
        (names, label): (&[Ident], &Ident),
        environment: &mut Environment,
        labels: &Labels,
    ) {
        let text = plain(label);
        let known = labels.visible(&text);
        let states = known.iter().find_map(|name| self.states.get(name)).cloned();
        if let Some(states) = states.as_ref().filter(|states| states.len() != names.len()) {
            let directions = "`h` of each layer and direction, for `lstm` `h` and `c`";
            let mistake =
                Mistake::new(format!("`{text}` has {}: {directions}", counted(states.len(), "state")));
            let numbered: Vec<String> = (1..=states.len()).map(|index| format!("s{index}")).collect();
            let help = match states.len() {
                1 => format!("write `let h = {text}.states;`"),
                _ => format!("name each: `let ({}) = {text}.states;`", numbered.join(", ")),
            };
            self.report_here(label, mistake.help(help));
        } else if states.is_none() {
            let mistake = match labels.has(&text) {
                true => Mistake::new(format!("`{text}` has no states here"))
                    .help("only `rnn`, `gru` and `lstm` before this have states".to_owned()),
                false => {
                    let names = self.states.keys().filter_map(|name| name.rsplit('.').next());
                    let mistake = Mistake::new(format!("there is no layer labelled `{text}`"));
                    match did_you_mean(&text, names) {
                        Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                        None => mistake.help(format!("label the layer: `{text}: lstm(64)`")),
                    }
                }
            };
            self.report_here(label, mistake);
            environment.forgiving = true;
        }
        for (index, name) in names.iter().enumerate() {
            self.expect_free_name(name);
            self.expect_not_carried(name, environment);
            let state = states.as_ref().and_then(|states| states.get(index));
            environment.define_flow(name, state.map_or(Flow::Unknown, |value| Flow::Value(*value)));
        }
    }
}

/// One name, or those of a tuple.
fn names_of(expr: &Expr) -> Option<Vec<&Ident>> {
    match expr {
        Expr::Path(path) => Some(vec![path.path.get_ident()?]),
        Expr::Tuple(tuple) => {
            let names = tuple.elems.iter().map(|name| match names_of(name)?[..] {
                [name] => Some(name),
                _ => None,
            });
            names.collect()
        }
        Expr::Paren(paren) => names_of(&paren.expr),
        Expr::Group(group) => names_of(&group.expr),
        _ => None,
    }
}

fn example(rule: &OperandRule) -> String {
    match rule.name == INITIAL.name {
        true => "for example `initial = (h, c)`, with inputs or results of other layers".to_owned(),
        false => "for example `lengths = steps`, with an input `steps: [] of index`".to_owned(),
    }
}
