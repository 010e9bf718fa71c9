//! Calls of words that are no layers.

use super::Checker;
use super::scope::Environment;
use crate::ast::Call;
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{self, LAYERS, STRUCTURE};

impl Checker<'_, '_> {
    pub(super) fn unknown_call(&mut self, call: &Call, name: &str, environment: &Environment) {
        match name {
            "concat" => {
                let mistake = Mistake::new("`concat` takes paths in braces")
                    .help("for example `concat { { conv2d(16, kernel_size = 1) } { max_pool2d(3, stride = 1, padding = 1) } }`".to_owned());
                return self.errors.report(&call.name, mistake);
            }
            "repeat" => {
                let mistake = Mistake::new("`repeat` needs a count and a body")
                    .help("for example `repeat 3 { linear(64); relu }`".to_owned());
                return self.errors.report(&call.name, mistake);
            }
            _ => {}
        }
        if matches!(&*name.to_lowercase(), "split" | "chunk") {
            let mistake = Mistake::new(format!("there is no layer or block named `{name}`"))
                .help("to split the channels write `let (first, second) = it;`".to_owned());
            return self.errors.report(&call.name, mistake);
        }
        let unknown = Mistake::new(format!("there is no layer or block named `{name}`"));
        let others = self.scopes.blocks(self.scope).into_iter().chain(STRUCTURE.iter().copied());
        let mistake = if environment.has_flow(name) {
            unknown.help(format!("`{name}` is a value: to continue from it write `from({name})`"))
        } else if let Some(meant) = layers::known_elsewhere_as(name) {
            unknown.help(format!("did you mean `{meant}`?"))
        } else if let Some(meant) = match name {
            "cat" | "concatenate" => Some("concat"),
            "mul" | "times" => Some("multiply"),
            "sub" | "minus" => Some("subtract"),
            _ => None,
        } {
            unknown.help(format!("did you mean `{meant}`?"))
        } else if let Some(absent) = layers::absent(name) {
            let help = absent.instead.map_or_else(|| self.everything(), str::to_owned);
            Mistake::new(format!("Windlass has no layer `{name}` yet")).help(help)
        } else if layers::is_loss(name) {
            Mistake::new(format!("`{name}` is a loss, not a layer")).help(
                "end the network with the input of the loss, and pass the loss to the `Trainer`, or declare a `loss(…) { … }` \
                 after the network"
                    .to_owned(),
            )
        } else if let Some(meant) = did_you_mean(name, LAYERS.iter().map(|rule| rule.name).chain(others)) {
            unknown.help(format!("did you mean `{meant}`?"))
        } else {
            unknown.help(self.everything())
        };
        self.errors.report(&call.name, mistake);
    }

    /// Everything that can be called.
    fn everything(&self) -> String {
        // Layers over several axes are listed once.
        let names = LAYERS.iter().map(|rule| rule.name);
        let names: Vec<&str> = names.filter(|name| !name.ends_with("1d") && !name.ends_with("3d")).collect();
        let mut text = format!("the layers are {}, each `2d` also as `1d` and `3d`", names.join(", "));
        let names = self.scopes.blocks(self.scope);
        if !names.is_empty() {
            text.push_str(&format!("; the blocks of this `network!` are {}", names.join(", ")));
        }
        text.push_str(
            "; `add(…)`, `subtract(…)`, `multiply(…)`, `bilinear(…)`, `attention(…)`, `cross_attention(…)` and `concat { … }` combine values",
        );
        text
    }
}
