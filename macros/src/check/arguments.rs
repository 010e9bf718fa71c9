//! Matches arguments with parameters.

use syn::{Expr, Lit};

use super::Checker;
use super::scope::Environment;
use super::values::Value;
use crate::ast::{Argument, Call, Parameter, Pattern, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{ArgumentRule, Default, Kind, Known, OperandRule};

/// A parameter of a layer or block.
pub(super) struct Slot {
    /// `None` for a tuple, which cannot be named in a call.
    pub(super) name: Option<String>,
    /// Its form in messages: `kernel_size`, `(a, b)`.
    pub(super) text: String,
    pub(super) also: &'static [&'static str],
    pub(super) required: bool,
    /// Whether its value is `true` or `false`.
    pub(super) is_flag: bool,
    /// Whether its value is a list of sizes.
    pub(super) is_list: bool,
}

impl Slot {
    pub(super) fn of_block(parameter: &Parameter) -> Self {
        let name = match &parameter.pattern {
            Pattern::Name(name) => Some(plain(name)),
            Pattern::Tuple(_) => None,
        };
        let text = parameter.pattern.to_string();
        let is_flag = parameter.default.as_ref().is_some_and(is_flag);
        Slot { name, text, also: &[], required: parameter.default.is_none(), is_flag, is_list: false }
    }

    pub(super) fn of_layer(rule: &ArgumentRule) -> Self {
        Slot {
            name: Some(rule.name.to_owned()),
            text: rule.name.to_owned(),
            also: rule.also,
            required: matches!(rule.default, Default::Required),
            is_flag: rule.kind == Kind::Flag,
            is_list: rule.kind == Kind::List,
        }
    }

    pub(super) fn of_value(rule: &OperandRule) -> Self {
        Slot {
            name: Some(rule.name.to_owned()),
            text: rule.name.to_owned(),
            also: rule.also,
            required: false,
            is_flag: false,
            is_list: false,
        }
    }
}

/// The parameters of a call, for [`Checker::bind`].
pub(super) struct Signature<'s> {
    pub(super) slots: &'s [Slot],
    pub(super) example: &'s str,
    /// The quantity that the layer takes from its input, and its value if it is known.
    pub(super) known: Option<(Known, Option<usize>)>,
}

impl Checker<'_, '_> {
    /// The expression given for each slot; `None` after reporting a mistake that leaves a required one open.
    pub(super) fn bind<'e>(
        &mut self,
        call: &'e Call,
        signature: &Signature,
        environment: &Environment,
    ) -> Option<Vec<Option<&'e Expr>>> {
        let Signature { slots, example, known } = signature;
        let name = plain(&call.name);
        let required = slots.iter().filter(|slot| slot.required).count();
        let mut bound: Vec<Option<&Expr>> = vec![None; slots.len()];
        let mut lost = false;
        let mut named_before = false;
        let redundant = known.is_some_and(|known| self.input_is_written(call, slots, known, environment));
        let mut positions = 0;
        for argument in call.arguments() {
            let slot = match &argument.name {
                Some(given) => {
                    if let Some((known, _)) = known
                        && !slots.iter().any(|slot| slot.name.as_deref() == Some(&plain(given)))
                        && known.names.contains(&plain(given).as_str())
                    {
                        let mistake = Mistake::new(format!("`{name}` takes no `{given}`"))
                            .help(format!("leave it out: the {} are known from the input", known.words));
                        self.errors.report(given, mistake);
                        continue;
                    }
                    named_before = true;
                    match self.slot_named(&name, given, slots) {
                        Some(slot) => slot,
                        None => {
                            lost = true;
                            continue;
                        }
                    }
                }
                None if lost => continue,
                None if named_before => {
                    let mistake = Mistake::new(format!("positional argument of `{name}` after a named one"))
                        .help("put it first, or name it too".to_owned());
                    self.errors.report(&argument.value, mistake);
                    lost = true;
                    continue;
                }
                None => {
                    positions += 1;
                    let position = positions - 1;
                    if redundant && position == 0 {
                        let mistake =
                            input_written(call, slots, known.map_or("sizes", |(known, _)| known.words));
                        self.errors.report(&argument.value, mistake);
                        continue;
                    }
                    let position = position - usize::from(redundant);
                    if position < required {
                        position
                    } else {
                        if !redundant {
                            let mistake = too_many(call, signature, required, position, &argument.value);
                            self.errors.report(&argument.value, mistake);
                        }
                        // It takes the meaning of its position in other libraries, unless the call says otherwise.
                        let Some(slot) = slots.get(position) else { continue };
                        let is_named = |other: &Argument| {
                            other.name.as_ref().is_some_and(|name| plain(name) == slot.text)
                        };
                        if slot.is_flag != is_flag(&argument.value) || call.arguments().iter().any(is_named) {
                            continue;
                        }
                        position
                    }
                }
            };
            if bound[slot].is_some() {
                let text = format!("`{}` of `{name}` is given twice", slots[slot].text);
                match &argument.name {
                    Some(given) => self.errors.report(given, Mistake::new(text)),
                    None => self.errors.report(&argument.value, Mistake::new(text)),
                }
                continue;
            }
            bound[slot] = Some(&argument.value);
        }
        let missing: Vec<String> = slots
            .iter()
            .zip(&bound)
            .filter(|(slot, given)| slot.required && given.is_none())
            .map(|(slot, _)| format!("`{}`", slot.text))
            .collect();
        if missing.is_empty() {
            return Some(bound);
        }
        if !lost {
            let mistake = Mistake::new(format!("`{name}` needs {}", missing.join(" and ")))
                .help(format!("write it like `{example}`"));
            self.errors.report(call, mistake);
        }
        None
    }

    /// Whether the first of too many positional arguments is a quantity that the layer takes from its input, as in
    /// other libraries: `conv2d(3, 8, 3)` for three channels, `linear(3072, 10)`, `batch_norm(8)`.
    fn input_is_written(
        &mut self,
        call: &Call,
        slots: &[Slot],
        (_, input): (Known, Option<usize>),
        environment: &Environment,
    ) -> bool {
        let required = slots.iter().filter(|slot| slot.required).count();
        let positional: Vec<&Expr> = call
            .arguments()
            .iter()
            .filter(|argument| argument.name.is_none())
            .map(|argument| &argument.value)
            .collect();
        let (Some(first), Some(excess)) = (positional.first(), positional.get(required)) else {
            return false;
        };
        if required == 0 {
            return !matches!(first, Expr::Lit(literal) if matches!(literal.lit, Lit::Float(_)));
        }
        if slots.get(required).is_some_and(|slot| slot.is_flag) {
            return !is_flag(excess);
        }
        let value = self.evaluate(first, environment);
        input.is_some_and(|input| value == Value::Exact((input as i128).into()))
    }

    fn slot_named(&mut self, name: &str, given: &syn::Ident, slots: &[Slot]) -> Option<usize> {
        let text = plain(given);
        let position = |wanted: &str| slots.iter().position(|slot| slot.name.as_deref() == Some(wanted));
        if let Some(slot) = position(&text) {
            return Some(slot);
        }
        let names: Vec<&str> = slots.iter().filter_map(|slot| slot.name.as_deref()).collect();
        let elsewhere = slots.iter().find(|slot| slot.also.contains(&text.as_str()));
        let elsewhere = elsewhere.and_then(|slot| slot.name.as_deref());
        let meant = elsewhere.or_else(|| did_you_mean(&text, names.iter().copied()));
        let mistake = Mistake::new(format!("`{name}` has no argument `{text}`"));
        let mistake = match meant {
            Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
            None if names.is_empty() => mistake.help(format!("`{name}` takes no named arguments")),
            None if text == "activation" => {
                mistake.help(format!("write the activation after it: `{name}(…); relu`"))
            }
            None => mistake.help(format!("it takes {}", list(&names))),
        };
        self.errors.report(given, mistake);
        meant.and_then(position)
    }
}

/// The call without the quantity that the layer takes from its input, and with the other arguments named.
fn input_written(call: &Call, slots: &[Slot], words: &str) -> Mistake {
    let name = plain(&call.name);
    let mut arguments = Vec::new();
    let mut positions = 0usize;
    for argument in call.arguments() {
        let value = source(&argument.value);
        match &argument.name {
            Some(given) => arguments.push(format!("{} = {value}", plain(given))),
            None => {
                positions += 1;
                let slot = positions.checked_sub(2).and_then(|position| slots.get(position));
                match (positions, slot) {
                    (1, _) => {}
                    (2, Some(slot)) if slot.required => arguments.push(value),
                    (_, Some(slot)) if slot.is_flag != is_flag(&argument.value) => {}
                    (_, Some(slot)) => arguments.push(format!("{} = {value}", slot.text)),
                    (_, None) => {}
                }
            }
        }
    }
    let meant = if arguments.is_empty() { name.clone() } else { format!("{name}({})", arguments.join(", ")) };
    Mistake::new(format!("`{name}` knows its {words} from its input")).help(format!("write `{meant}`"))
}

fn too_many(call: &Call, signature: &Signature, required: usize, position: usize, value: &Expr) -> Mistake {
    let name = plain(&call.name);
    let slots = signature.slots;
    let mistake = Mistake::new(match required {
        0 if slots.is_empty() => format!("`{name}` takes no arguments"),
        0 => format!("`{name}` takes named arguments only"),
        _ if required == slots.len() => format!("`{name}` takes {}", counted(required, "argument")),
        _ => format!("`{name}` takes {}", counted(required, "positional argument")),
    });
    if slots.first().is_some_and(|slot| slot.is_list) {
        let values: Vec<String> = call
            .arguments()
            .iter()
            .filter(|argument| argument.name.is_none())
            .map(|argument| source(&argument.value))
            .collect();
        return mistake.help(format!("write the list in parentheses: `{name}(({}))`", values.join(", ")));
    }
    if let (true, Expr::Call(_)) = (slots.is_empty(), value) {
        return mistake.help(format!("layers follow one another: `{}; {name}`", source(value)));
    }
    match slots.get(position).and_then(|slot| slot.name.as_deref()) {
        Some(slot) => {
            let help = format!("name this one: `{slot} = {}`", source(value));
            mistake.help(match signature.known {
                Some((known, _)) => {
                    format!("{help}; the {} are known from the input, and not written", known.words)
                }
                None => help,
            })
        }
        None if required > 0 => {
            let words: Vec<&str> = slots.iter().map(|slot| slot.text.as_str()).collect();
            mistake.help(format!("write it like `{name}({})`", words.join(", ")))
        }
        None => mistake,
    }
}

pub(super) fn is_flag(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(literal) if matches!(literal.lit, Lit::Bool(_)))
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// `a`, `b` or `c`, each in backticks.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// The mismatch between an argument and the form of its parameter.
pub(super) fn misfit(pattern: &Pattern, value: &Value) -> Option<Mistake> {
    let Pattern::Tuple(patterns) = pattern else { return None };
    match value {
        Value::Unknown => None,
        Value::Tuple(values) if patterns.len() == values.len() => {
            patterns.iter().zip(values).find_map(|(pattern, value)| misfit(pattern, value))
        }
        Value::Tuple(_) | Value::Exact(_) | Value::Real(_) | Value::Flag(_) | Value::Layer(_) => Some(
            Mistake::new(format!("expected a tuple of {} for `{pattern}`, found `{value}`", patterns.len())),
        ),
    }
}
