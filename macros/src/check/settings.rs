//! Evaluates the arguments of layers to settings.

use syn::{Expr, Lit};
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::window::Sides;

use super::Checker;
use super::arguments::{counted, list};
use super::scope::Environment;
use super::values::Value;
use crate::ast::{plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{
    ArgumentRule, Connections, Default, Each, INITIALIZERS, Kind, LayerRule, PaddingWord, Setting, Settings,
};

impl Checker<'_, '_> {
    /// Every setting of a layer whose arguments were bound; unknown ones are left out. `input` has the sizes of an item of
    /// the layer's input, if they are known.
    pub(super) fn settings(
        &mut self,
        rule: &LayerRule,
        bound: &[Option<&Expr>],
        environment: &Environment,
        input: Option<Vec<usize>>,
    ) -> Settings {
        let mut settings = Settings::for_input(input);
        // Words of padding depend on the other arguments.
        let arguments = || rule.arguments.iter().zip(bound);
        let is_padding = |argument: &ArgumentRule| matches!(argument.kind, Kind::Padding(_));
        let first = arguments().filter(|(argument, _)| !is_padding(argument));
        for (argument, given) in first.chain(arguments().filter(|(argument, _)| is_padding(argument))) {
            let setting = match (given, argument.default) {
                (Some(expr), _) => self.setting(rule.name, argument, (expr, &settings), environment),
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
        (expr, others): (&Expr, &Settings),
        environment: &Environment,
    ) -> Option<Setting> {
        let what = format!("`{}` of `{layer}`", argument.name);
        match (argument.kind, word(expr)) {
            (Kind::Initializer, _) => return self.initializer(expr, environment).map(Setting::Initializer),
            (Kind::Word(words), Some(given)) => {
                if let Some(known) = words.iter().find(|known| **known == given) {
                    return Some(Setting::Word(known));
                }
                let mistake = Mistake::new(format!("{what} cannot be `{given}`"))
                    .help(format!("it takes {}", argument.kind.words()));
                self.errors.report(expr, mistake);
                return None;
            }
            (Kind::Padding(_), Some(given)) if self.value_of(&given, environment).is_none() => {
                return self.padding_word(&what, argument, (expr, &given), others);
            }
            (Kind::Connections, Some(word)) if word == "all" => {
                return Some(Setting::Connections(Connections::ALL));
            }
            _ => {}
        }
        let value = self.evaluate(expr, environment);
        let setting = match (argument.kind, &value) {
            (_, Value::Unknown) => return None,
            (Kind::Size, Value::Exact(_) | Value::Real(_)) => {
                return self.size(expr, &what, &value).map(Setting::Size);
            }
            (Kind::Sizes(axes), Value::Exact(_) | Value::Real(_)) => {
                let size = self.size(expr, &what, &value)?;
                Some(Setting::Sizes(Each::all(axes, size)))
            }
            (Kind::Sizes(axes), Value::Tuple(values)) if values.len() == axes => {
                Each::of(&self.sizes(expr, &what, values)?).map(Setting::Sizes)
            }
            (Kind::List, Value::Exact(_) | Value::Real(_)) => {
                let size = self.size(expr, &what, &value)?;
                Some(Setting::Sizes(Each::all(1, size)))
            }
            (Kind::List, Value::Tuple(values)) => {
                Each::of(&self.sizes(expr, &what, values)?).map(Setting::Sizes)
            }
            (Kind::Padding(axes), Value::Exact(_) | Value::Real(_)) => {
                let size = self.size(expr, &what, &value)?;
                Some(Setting::Padding(Each::all(axes, Sides::from(size))))
            }
            (Kind::Padding(1), Value::Tuple(values)) if values.len() == 2 => {
                self.sides(expr, &what, &value).map(|sides| Setting::Padding(Each::all(1, sides)))
            }
            (Kind::Padding(axes), Value::Tuple(values)) if values.len() == axes => {
                let sides: Option<Vec<Sides>> =
                    values.iter().map(|value| self.sides(expr, &what, value)).collect();
                Each::of(&sides?).map(Setting::Padding)
            }
            (Kind::Connections, Value::Tuple(lists)) => {
                let lists = lists.iter().map(|list| match list {
                    Value::Tuple(channels) => self.sizes(expr, &what, channels),
                    channel => self.size(expr, &what, channel).map(|channel| vec![channel]),
                });
                let lists: Option<Vec<Vec<usize>>> = lists.collect();
                Connections::of(&lists?).map(Setting::Connections)
            }
            (Kind::Number, Value::Exact(_) | Value::Real(_)) => value.real().map(Setting::Number),
            (Kind::Flag, Value::Flag(flag)) => Some(Setting::Flag(*flag)),
            _ => None,
        };
        if setting.is_none() {
            let mistake = Mistake::new(format!("{what} cannot be `{value}`"))
                .help(format!("it takes {}", argument.kind.words()));
            self.report_here(expr, mistake);
        }
        setting
    }

    fn sizes(&mut self, expr: &Expr, what: &str, values: &[Value]) -> Option<Vec<usize>> {
        values.iter().map(|value| self.size(expr, what, value)).collect()
    }

    /// Padding on both sides of an axis: a size, or a pair.
    fn sides(&mut self, expr: &Expr, what: &str, value: &Value) -> Option<Sides> {
        match value {
            Value::Tuple(values) if values.len() == 2 => {
                let sizes = self.sizes(expr, what, values)?;
                Some(Sides { before: sizes[0], after: sizes[1] })
            }
            _ => self.size(expr, what, value).map(Sides::from),
        }
    }

    /// `padding = same`, `valid` or `full`.
    fn padding_word(
        &mut self,
        what: &str,
        argument: &ArgumentRule,
        (expr, given): (&Expr, &str),
        others: &Settings,
    ) -> Option<Setting> {
        let help = match (others.padding_of(given), is_text(expr)) {
            (Ok(padding), false) => return Each::of(&padding).map(Setting::Padding),
            (Ok(padding), true) => {
                let mistake = Mistake::new(format!("{what} is written without quotes"))
                    .help(format!("write `padding = {given}`"));
                self.errors.report(expr, mistake);
                return Each::of(&padding).map(Setting::Padding);
            }
            // The sizes of the input are unknown because of a mistake that was reported.
            (Err(PaddingWord::NeedsInput), _) => return None,
            (Err(PaddingWord::Unknown), _) => format!("it takes {}", argument.kind.words()),
        };
        self.errors.report(expr, Mistake::new(format!("{what} cannot be `{given}`")).help(help));
        None
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
            ("signs", []) => Initializer::Signs,
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

/// A single word, also in quotes: in lower case.
fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(plain),
        Expr::Group(group) => word(&group.expr),
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value().to_lowercase()),
            _ => None,
        },
        _ => None,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)))
}
