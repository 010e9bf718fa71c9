//! Networks with parameters: their values, and networks declared as others with different values.

use std::collections::HashSet;

use proc_macro2::Ident;
use syn::{Attribute, Visibility};

use super::names::{Meaning, ScopeId, Scopes};
use super::scope::Environment;
use super::values::Value;
use super::{Checker, Findings};
use crate::ast::{Instance, Network, Pattern, plain};
use crate::diagnostics::{Diagnostics, Mistake, did_you_mean};

/// How a network is declared.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) attributes: &'a [Attribute],
    pub(super) visibility: &'a Visibility,
    pub(super) name: &'a Ident,
}

impl<'a> Declared<'a> {
    pub(super) fn of(network: &'a Network) -> Self {
        Declared { attributes: &network.attributes, visibility: &network.visibility, name: &network.name }
    }
}

/// The parameters of a network that have other values than their defaults, and where they get them.
pub(super) struct Given<'a> {
    pub(super) instance: &'a Instance,
    pub(super) values: Vec<(String, Value)>,
}

impl<'a> Findings<'a> {
    /// Whether a network has this name.
    pub(super) fn has(&self, name: &Ident) -> bool {
        self.networks.iter().any(|other| other.name == name)
            || self.nameless.iter().any(|(_, other)| *other == name)
    }

    /// Checks a network that is another one with other values of its parameters.
    pub(super) fn add_instance(
        &mut self,
        instance: &'a Instance,
        (scopes, own): (&Scopes<'a>, ScopeId),
        errors: &mut Diagnostics,
        entered: &mut HashSet<(ScopeId, String)>,
    ) {
        let Instance { attributes, visibility, name, base, .. } = instance;
        if self.has(name) {
            return errors.report(name, Mistake::new(format!("the network `{name}` is declared twice")));
        }
        let Some(Meaning::Network(scope, network)) = scopes.meaning(own, &plain(base)) else {
            self.nameless.push((visibility, name));
            return errors.report(base, self.unknown_base(base, (scopes, own)));
        };
        let (scope, network) = (*scope, *network);
        // A mistake in the network itself would be reported again.
        let is_sound = scope != own
            || self.networks.iter().any(|other| other.name == &network.name && other.checked.is_some());
        let mut checker = Checker::new((scopes, own), errors, entered, &plain(name));
        let values = checker.arguments(instance, network);
        let Some(values) = values.filter(|_| is_sound) else {
            self.nameless.push((visibility, name));
            return;
        };
        checker.scope = scope;
        let declared = Declared { attributes, visibility, name };
        self.networks.push(checker.network(network, declared, Some(Given { instance, values })));
    }

    fn unknown_base(&self, base: &Ident, (scopes, own): (&Scopes<'a>, ScopeId)) -> Mistake {
        let text = plain(base);
        if let Some(other) = self.networks.iter().find(|other| other.name == base) {
            return Mistake::new(format!("`{text}` has no parameters of its own"))
                .help(format!("write the network that has them: `{}<…>`", other.network.name));
        }
        let mistake = match scopes.meaning(own, &text) {
            Some(_) => Mistake::new(format!("`{text}` is not a network")),
            None => Mistake::new(format!("there is no network named `{text}` here")),
        };
        let known = scopes.networks(own);
        if let Some(meant) = did_you_mean(&text, known.iter().copied()) {
            mistake.help(format!("did you mean `{meant}`?"))
        } else {
            mistake.help(
                "declare it in this `network!`, or import it from a library: `use path::library::Other;`"
                    .to_owned(),
            )
        }
    }
}

impl<'a> Checker<'_, 'a> {
    /// The values of an instance's arguments; `None` if some have mistakes.
    fn arguments(&mut self, instance: &'a Instance, network: &Network) -> Option<Vec<(String, Value)>> {
        let names: Vec<String> =
            network.parameters.iter().map(|parameter| parameter.pattern.to_string()).collect();
        let before = self.errors.count();
        let mut values: Vec<(String, Value)> = Vec::new();
        for argument in &instance.arguments {
            let Some(name) = &argument.name else { continue };
            let text = plain(name);
            let network = &instance.base;
            if !names.contains(&text) {
                let mistake = Mistake::new(format!("`{network}` has no parameter `{text}`"));
                let meant = did_you_mean(&text, names.iter().map(String::as_str));
                let mistake = match meant {
                    Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                    None if names.is_empty() => {
                        mistake.help(format!("declare it: `network {network}<{text} = 10>(…)`"))
                    }
                    None => mistake.help(format!("it has {}", names.join(", "))),
                };
                self.errors.report(name, mistake);
                continue;
            }
            if values.iter().any(|(other, _)| *other == text) {
                self.errors.report(name, Mistake::new(format!("`{text}` of `{network}` is given twice")));
                continue;
            }
            let value = self.own_value(&argument.value);
            values.push((text, value));
        }
        (self.errors.count() == before).then_some(values)
    }

    /// The value of an expression outside any body.
    fn own_value(&mut self, expr: &syn::Expr) -> Value {
        let before = self.errors.count();
        let value = self.evaluate(expr, &Environment::default());
        if value == Value::Unknown && self.errors.count() == before {
            self.errors.report(expr, Mistake::new("there is no current value here"));
        }
        value
    }

    /// Defines the parameters of a network; returns it with their values, if it has any.
    pub(super) fn define_network_parameters(
        &mut self,
        network: &'a Network,
        given: Option<&Given<'a>>,
        environment: &mut Environment,
    ) -> Option<String> {
        let mut words = Vec::new();
        for parameter in &network.parameters {
            let Pattern::Name(name) = &parameter.pattern else { continue };
            let text = plain(name);
            let value = given.and_then(|given| given.values.iter().find(|(other, _)| *other == text));
            let value = match (value, &parameter.default) {
                (Some((_, value)), _) => value.clone(),
                (None, Some(default)) => {
                    let before = self.errors.count();
                    let value = self.evaluate(default, environment);
                    if value == Value::Unknown && self.errors.count() == before {
                        self.errors.report(default, Mistake::new("there is no current value here"));
                    }
                    value
                }
                (None, None) => {
                    let mistake = Mistake::new(format!("the parameter `{text}` has no default"))
                        .help(format!("write `{text} = 10`: the type `{}` has the defaults", network.name));
                    self.errors.report(name, mistake);
                    Value::Unknown
                }
            };
            words.push(format!("{text} = {value}"));
            self.define_parameter(name, &value, environment);
        }
        (!words.is_empty()).then(|| format!("{}<{}>", network.name, words.join(", ")))
    }
}
