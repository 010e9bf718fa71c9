//! Intermediate values: models whose outputs are results of layers.

use windlass_compiler::autodiff::nearest;

use crate::error::Error;
use crate::model::Model;
use crate::network::{AnyNetwork, Dynamic};

impl<N: AnyNetwork> Model<N> {
    /// A model with a copy of the present parameters whose outputs are results of layers, by their labels, in the order
    /// given. A label of a block stands for its result, and the network's own outputs are found by their names. Inputs are
    /// those of the network; layers that no output needs do not run.
    ///
    /// Layers without a label are numbered by kind, as [`summary`](windlass_compiler::summary::summary) lists them.
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, Layer};
    ///
    /// let mut builder = Builder::new("Points");
    /// let x = builder.input("point", &[2])?;
    /// let hidden = builder.layer("f1", &Layer::linear(16), x)?;
    /// let hidden = builder.layer("bounded", &Layer::Tanh, hidden)?;
    /// let scores = builder.layer("f2", &Layer::linear(3), hidden)?;
    /// builder.output("class", scores)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(0)?;
    ///
    /// let outputs = model.with_outputs(["bounded", "class"])?.forward(&[0.5, 0.25])?;
    /// assert_eq!(outputs.get("bounded")?.shape(), [1, 16]);
    /// assert_eq!(outputs.get("class")?, &model.forward(&[0.5, 0.25])?.single()?);
    ///
    /// let error = model.with_outputs(["bound"]).unwrap_err();
    /// assert!(error.to_string().contains("did you mean `bounded`?"));
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] for a name of no layer, block or output; [`Error::Network`] for a layer whose result is not a
    /// batch of 32-bit floats, or if no output is named; [`Error::Graph`] for a repeated name; [`Error::Compile`].
    pub fn with_outputs<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Model<Dynamic>, Error> {
        let graph = self.network().graph();
        let names: Vec<S> = names.into_iter().collect();
        let mut outputs = Vec::with_capacity(names.len());
        for name in names.iter().map(AsRef::as_ref) {
            let own = graph.outputs().iter().find(|output| output.name == name).map(|output| output.value);
            let value = own.or_else(|| graph.layer_result(name)).ok_or_else(|| self.unknown_layer(name))?;
            outputs.push((name, value));
        }
        let network = Dynamic::new(graph.with_output_values(outputs)?)?;
        Model::of_parameters(network, self.parameters().clone(), self.options())
    }

    fn unknown_layer(&self, name: &str) -> Error {
        let graph = self.network().graph();
        let outputs = graph.outputs().iter().map(|output| output.name.as_str());
        let known: Vec<&str> = graph.layer_labels().into_iter().chain(outputs).collect();
        Error::UnknownLayer {
            network: self.network().name().to_owned(),
            name: name.to_owned(),
            nearest: nearest(name, known.iter().copied()).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }
}
