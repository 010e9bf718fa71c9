//! Matches arguments with parameters and evaluates them.

use syn::{Expr, Lit};
use windlass_compiler::graph::initializer::Initializer;

use super::Checker;
use super::scope::Environment;
use super::values::Value;
use crate::ast::{Argument, Call, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{
    ArgumentRule, AxisSizes, Default, INITIALIZERS, Kind, Known, LayerRule, Setting, Settings,
};

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
}

impl Slot {
    pub(super) fn of_layer(rule: &ArgumentRule) -> Self {
        Slot {
            name: Some(rule.name.to_owned()),
            text: rule.name.to_owned(),
            also: rule.also,
            required: matches!(rule.default, Default::Required),
            is_flag: rule.kind == Kind::Flag,
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
                (Some(expr), _) if argument.name == "padding" && is_text(expr) => {
                    self.padding_word(rule, bound, expr, settings.get("kernel_size"), environment)
                }
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
        let value = self.evaluate(expr, environment);
        match (argument.kind, &value) {
            (_, Value::Unknown) => None,
            (Kind::Size, Value::Exact(_) | Value::Real(_)) => {
                self.size(expr, &what, &value).map(Setting::Size)
            }
            (Kind::Sizes(axes), Value::Exact(_) | Value::Real(_)) => {
                let size = self.size(expr, &what, &value)?;
                Some(Setting::Sizes(AxisSizes::all(axes, size)))
            }
            (Kind::Sizes(axes), Value::Tuple(values)) if values.len() == axes => {
                let sizes: Option<Vec<usize>> =
                    values.iter().map(|value| self.size(expr, &what, value)).collect();
                AxisSizes::each(&sizes?).map(Setting::Sizes)
            }
            (Kind::Number, Value::Exact(_) | Value::Real(_)) => value.real().map(Setting::Number),
            (Kind::Flag, Value::Flag(flag)) => Some(Setting::Flag(*flag)),
            (kind, _) => {
                let mistake = Mistake::new(format!("{what} cannot be `{value}`"))
                    .help(format!("it takes {}", kind.words()));
                self.report_here(expr, mistake);
                None
            }
        }
    }

    /// `padding = "same"`, which other libraries support: as a number for this window.
    fn padding_word(
        &mut self,
        rule: &LayerRule,
        bound: &[Option<&Expr>],
        expr: &Expr,
        kernel_size: Option<Setting>,
        environment: &Environment,
    ) -> Option<Setting> {
        let axes = rule.axes();
        let dilation = rule.arguments.iter().zip(bound).find(|(argument, _)| argument.name == "dilation");
        let dilation = match dilation {
            Some((argument, Some(expr))) => self.setting(rule.name, argument, expr, environment)?,
            Some((_, None)) | None => Setting::Sizes(AxisSizes::all(axes, 1)),
        };
        let mut padding = None;
        let mut help = "write a number of pixels, such as `padding = 1`".to_owned();
        let word = source(expr).to_lowercase();
        if word.contains("valid") {
            padding = Some(Setting::Sizes(AxisSizes::all(axes, 0)));
            help = "leave it out: then there is no padding".to_owned();
        } else if let (Some(Setting::Sizes(kernel_size)), Setting::Sizes(dilation)) = (kernel_size, dilation)
            && word.contains("same")
        {
            let window = kernel_size.as_slice().iter().zip(dilation.as_slice());
            let around: Vec<usize> =
                window.map(|(size, dilation)| size.saturating_sub(1).saturating_mul(*dilation)).collect();
            if around.iter().any(|size| !size.is_multiple_of(2)) {
                help =
                    "an even window has no padding that keeps the size: use an odd `kernel_size`".to_owned();
            } else {
                let sizes: Vec<usize> = around.iter().map(|size| size / 2).collect();
                let words: Vec<String> = sizes.iter().map(usize::to_string).collect();
                let words = match sizes.iter().all(|size| *size == sizes[0]) {
                    true => words[0].clone(),
                    false => format!("({})", words.join(", ")),
                };
                padding = AxisSizes::each(&sizes).map(Setting::Sizes);
                help = format!("`padding = {words}` keeps the size for this window");
            }
        }
        let mistake = Mistake::new(format!("`padding` of `{}` is a number, not {}", rule.name, source(expr)));
        self.errors.report(expr, mistake.help(help));
        padding
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
            let mistake = Mistake::new(format!("`{}` is not a distribution", source(expr)))
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
            let value = self.evaluate(argument, environment);
            if value == Value::Unknown {
                return None;
            }
            let Some(number) = value.real() else {
                self.report_here(argument, Mistake::new(format!("`{value}` is not a number")));
                return None;
            };
            numbers.push(number);
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

fn is_flag(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(literal) if matches!(literal.lit, Lit::Bool(_)))
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)))
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
