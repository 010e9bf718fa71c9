//! Which argument of a call is which, and what each is worth.

use syn::Expr;
use windlass_compiler::graph::initializer::Initializer;

use super::Checker;
use super::scope::Environment;
use super::values::{Arithmetic, Value};
use crate::ast::{Call, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{ArgumentRule, Default, INITIALIZERS, Kind, LayerRule, Setting, Settings};

/// An argument that a layer or block takes.
pub(super) struct Slot {
    /// `None` for a tuple, which cannot be named in a call.
    pub(super) name: Option<String>,
    /// As it is shown: `kernel_size`, `(a, b)`.
    pub(super) text: String,
    pub(super) also: &'static [&'static str],
    pub(super) required: bool,
}

impl Slot {
    pub(super) fn of_layer(rule: &ArgumentRule) -> Self {
        let required = matches!(rule.default, Default::Required);
        Slot { name: Some(rule.name.to_owned()), text: rule.name.to_owned(), also: rule.also, required }
    }
}

impl Checker<'_, '_> {
    /// The expression given for each slot; `None` after reporting a mistake that leaves a required one open.
    pub(super) fn bind<'e>(
        &mut self,
        call: &'e Call,
        slots: &[Slot],
        example: &str,
    ) -> Option<Vec<Option<&'e Expr>>> {
        let name = plain(&call.name);
        let required = slots.iter().filter(|slot| slot.required).count();
        let mut bound: Vec<Option<&Expr>> = vec![None; slots.len()];
        let mut lost = false;
        let mut named_before = false;
        for (position, argument) in call.arguments().iter().enumerate() {
            let slot = match &argument.name {
                Some(given) => {
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
                    let mistake =
                        Mistake::new(format!("an unnamed argument of `{name}` stands behind a named one"))
                            .help("put it first, or name it too".to_owned());
                    self.errors.report(&argument.value, mistake);
                    lost = true;
                    continue;
                }
                None if position >= required => {
                    let mistake = too_many(&name, slots, required, position, &argument.value);
                    self.errors.report(&argument.value, mistake);
                    continue;
                }
                None => position,
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
            None => mistake.help(format!("it takes {}", list(&names))),
        };
        self.errors.report(given, mistake);
        meant.and_then(position)
    }

    /// Every setting of a layer whose arguments were bound; unknown ones are left out.
    pub(super) fn settings(
        &mut self,
        rule: &LayerRule,
        bound: &[Option<&Expr>],
        environment: &Environment,
    ) -> Settings {
        let mut settings = Settings::default();
        for (argument, given) in rule.arguments.iter().zip(bound) {
            let setting = match (given, argument.default) {
                (Some(expr), _) => self.setting(rule.name, argument, expr, environment),
                (None, Default::Is(setting)) => Some(setting),
                (None, Default::As(other)) => settings.get(other),
                (None, Default::Required) => None,
            };
            if let Some(setting) = setting {
                settings.set(argument.name, setting);
            }
        }
        settings
    }

    fn setting(
        &mut self,
        layer: &str,
        argument: &ArgumentRule,
        expr: &Expr,
        environment: &Environment,
    ) -> Option<Setting> {
        let what = format!("`{}` of `{layer}`", argument.name);
        if argument.kind == Kind::Initializer {
            return self.initializer(expr, environment).map(Setting::Initializer);
        }
        let arithmetic = if argument.kind == Kind::Number { Arithmetic::Real } else { Arithmetic::Integer };
        let value = self.evaluate(expr, environment, arithmetic);
        match (argument.kind, &value) {
            (_, Value::Unknown) => None,
            (Kind::Size, Value::Integer(_)) => self.size(expr, &what, &value).map(Setting::Size),
            (Kind::Pair, Value::Integer(_)) => {
                self.size(expr, &what, &value).map(|size| Setting::Pair([size; 2]))
            }
            (Kind::Pair, Value::Tuple(values)) if values.len() == 2 => {
                let height = self.size(expr, &what, &values[0])?;
                let width = self.size(expr, &what, &values[1])?;
                Some(Setting::Pair([height, width]))
            }
            (Kind::Number, Value::Number(number)) => Some(Setting::Number(*number)),
            (Kind::Flag, Value::Flag(flag)) => Some(Setting::Flag(*flag)),
            (kind, _) => {
                let mistake = Mistake::new(format!("{what} cannot be `{value}`"))
                    .help(format!("it takes {}", kind.words()));
                self.report_here(expr, mistake);
                None
            }
        }
    }

    fn initializer(&mut self, expr: &Expr, environment: &Environment) -> Option<Initializer> {
        let (name, arguments) = match expr {
            Expr::Path(path) => (path.path.get_ident(), Vec::new()),
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => (path.path.get_ident(), call.args.iter().collect()),
                _ => (None, Vec::new()),
            },
            Expr::Group(group) => return self.initializer(&group.expr, environment),
            _ => (None, Vec::new()),
        };
        let known: Vec<&str> = INITIALIZERS.iter().map(|rule| rule.name).collect();
        let Some(name) = name.map(plain) else {
            let mistake = Mistake::new(format!("`{}` is no distribution", source(expr)))
                .help(format!("it takes {}", list(&known)));
            self.errors.report(expr, mistake);
            return None;
        };
        let Some(rule) = INITIALIZERS.iter().find(|rule| rule.name == name) else {
            let mistake = Mistake::new(format!("there is no distribution named `{name}`"));
            let elsewhere = INITIALIZERS.iter().find(|rule| rule.also.contains(&name.as_str()));
            let meant = elsewhere.map(|rule| rule.name);
            let mistake = match meant.or_else(|| did_you_mean(&name, known.iter().copied())) {
                Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                None => mistake.help(format!("it takes {}", list(&known))),
            };
            self.errors.report(expr, mistake);
            return None;
        };
        let parameters = rule.arguments;
        if arguments.len() != parameters.len() {
            let mistake = Mistake::new(format!(
                "`{name}` takes {} but receives {}",
                counted(parameters.len(), "number"),
                arguments.len()
            ));
            let mistake = if parameters.is_empty() {
                mistake.help(format!("write `init = {name}`"))
            } else {
                mistake.help(format!("write `init = {name}({})`", parameters.join(", ")))
            };
            self.errors.report(expr, mistake);
            return None;
        }
        let mut numbers = Vec::new();
        for argument in arguments {
            match self.evaluate(argument, environment, Arithmetic::Real) {
                Value::Number(number) => numbers.push(number),
                Value::Unknown => return None,
                other => {
                    self.report_here(argument, Mistake::new(format!("`{other}` is not a number")));
                    return None;
                }
            }
        }
        let initializer = match (name.as_str(), &numbers[..]) {
            ("xavier_uniform", []) => Initializer::XavierUniform,
            ("xavier_normal", []) => Initializer::XavierNormal,
            ("kaiming_uniform", []) => Initializer::KaimingUniform,
            ("kaiming_normal", []) => Initializer::KaimingNormal,
            ("zeros", []) => Initializer::ZEROS,
            ("ones", []) => Initializer::ONES,
            ("constant", [value]) => Initializer::Constant(*value),
            ("uniform", [low, high]) if low < high => Initializer::Uniform(*low, *high),
            ("uniform", [low, high]) => {
                let mistake = Mistake::new(format!("`uniform({low}, {high})` has no numbers to draw from"))
                    .help("the first bound must be below the second".to_owned());
                self.report_here(expr, mistake);
                return None;
            }
            ("normal", [mean, deviation]) if *deviation >= 0.0 => Initializer::Normal(*mean, *deviation),
            ("normal", [_, deviation]) => {
                let mistake = Mistake::new(format!("`normal` has the deviation {deviation}"))
                    .help("a standard deviation cannot be negative".to_owned());
                self.report_here(expr, mistake);
                return None;
            }
            _ => return None,
        };
        Some(initializer)
    }
}

fn too_many(name: &str, slots: &[Slot], required: usize, position: usize, value: &Expr) -> Mistake {
    let mistake = Mistake::new(match required {
        0 if slots.is_empty() => format!("`{name}` takes no arguments"),
        0 => format!("`{name}` takes named arguments only"),
        _ if required == slots.len() => format!("`{name}` takes {}", counted(required, "argument")),
        _ => format!("`{name}` takes {}", counted(required, "unnamed argument")),
    });
    match slots.get(position).and_then(|slot| slot.name.as_deref()) {
        Some(slot) => mistake.help(format!("name this one: `{slot} = {}`", source(value))),
        None if required > 0 => {
            let words: Vec<&str> = slots.iter().map(|slot| slot.text.as_str()).collect();
            mistake.help(format!("write it like `{name}({})`", words.join(", ")))
        }
        None => mistake,
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// `a`, `b` or `c`, each in backticks.
fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}
