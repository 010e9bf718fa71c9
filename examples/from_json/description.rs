//! A network described in a JSON file: an input, a sequence of layers, and the name of the output.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use windlass::{Builder, Dynamic, Layer};

/// The content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    name: String,
    input: Port,
    layers: Vec<LabelledLayer>,
    output: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    name: String,
    /// Sizes of one sample.
    sizes: Vec<usize>,
}

#[derive(Debug, Deserialize)]
struct LabelledLayer {
    /// The prefix of its parameters; by default its kind and a number, as in `network!`.
    label: Option<String>,
    #[serde(flatten)]
    layer: Layer,
}

impl Description {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let in_file = |reason: &dyn Error| format!("{}: {reason}", path.display());
        let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
        Ok(serde_json::from_str(&text).map_err(|error| in_file(&error))?)
    }

    /// Builds the network. Every layer is checked against the layers before it.
    pub(crate) fn build(&self) -> Result<Dynamic, Box<dyn Error>> {
        let mut builder = Builder::new(&self.name);
        let mut x = builder
            .input(&self.input.name, &self.input.sizes)
            .map_err(|error| format!("input `{}` of `{}`: {error}", self.input.name, self.name))?;
        let mut unlabelled: HashMap<&str, usize> = HashMap::new();
        for (place, LabelledLayer { label, layer }) in self.layers.iter().enumerate() {
            let label = label.clone().unwrap_or_else(|| {
                let number = unlabelled.entry(layer.name()).or_default();
                *number += 1;
                format!("{}{number}", layer.name())
            });
            x = builder
                .layer(&label, layer, x)
                .map_err(|error| format!("layer {} of `{}`, {label}: {error}", place + 1, self.name))?;
        }
        builder.output(&self.output, x)?;
        Ok(Dynamic::new(builder.finish()?)?)
    }
}
