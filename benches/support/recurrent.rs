//! The recurrent networks that `zoo recurrent` times: one layer on sequences of a fixed length.

use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Cell, Graph, GruReset, Layer, Recurrent, RnnActivation};

/// A recurrent layer with the shape of its input.
pub(crate) struct RecurrentCase {
    cell: &'static str,
    steps: usize,
    /// The number of sequences in a batch.
    pub(crate) batch: usize,
    features: usize,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
}

/// The cells in each shape: steps, batch, features, hidden units, layers, and whether it is bidirectional.
pub(crate) fn cases() -> impl Iterator<Item = RecurrentCase> {
    let shapes = [
        (35, 1, 256, 256, 1, false),
        (35, 32, 256, 256, 1, false),
        (35, 32, 28, 256, 2, false),
        (35, 32, 256, 256, 1, true),
    ];
    ["rnn", "gru", "lstm"].into_iter().flat_map(move |cell| {
        shapes.into_iter().map(move |(steps, batch, features, hidden, layers, bidirectional)| RecurrentCase {
            cell,
            steps,
            batch,
            features,
            hidden,
            layers,
            bidirectional,
        })
    })
}

impl RecurrentCase {
    /// The name: `lstm-t35-i256-h256-l1`.
    pub(crate) fn name(&self) -> String {
        let RecurrentCase { cell, steps, features, hidden, layers, .. } = self;
        let both = if self.bidirectional { "-bi" } else { "" };
        format!("{cell}-t{steps}-i{features}-h{hidden}-l{layers}{both}")
    }

    /// The network: the state after every step.
    pub(crate) fn graph(&self) -> Result<Graph, GraphError> {
        let cell = match self.cell {
            "rnn" => Cell::Rnn { activation: RnnActivation::Tanh },
            "gru" => Cell::Gru { reset: GruReset::After },
            _ => Cell::Lstm { projection: 0, peepholes: false },
        };
        let layer = Recurrent {
            layers: self.layers,
            bidirectional: self.bidirectional,
            ..Recurrent::new(cell, self.hidden)
        };
        let mut builder = Builder::new(&self.name());
        let x = builder.input("frames", &[self.steps, self.features])?;
        let y = builder.layer("cell", &Layer::Recurrent(layer), x)?;
        builder.output("states", y)?;
        builder.finish()
    }
}
