//! The interface of networks for models, predictors and trainers, whether known at compile time or at run time.

use ndarray::ArrayD;
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::Shape;

use super::{Feed, Network, ports};
use crate::error::Error;

/// A network that models, predictors and trainers accept: one declared with `network!` ([`Network`]), or one built at
/// run time ([`Dynamic`](crate::Dynamic)).
///
/// Generic functions over it accept both:
///
/// ```
/// use windlass::{AnyNetwork, Error, Model, Options};
///
/// /// A model that computes on the thread that calls it.
/// fn serial<N: AnyNetwork>(network: N, seed: u64) -> Result<Model<N>, Error> {
///     Model::of(network, seed, &Options::default().threads(1))
/// }
/// ```
pub trait AnyNetwork: Clone + Send + Sync + 'static {
    /// The input type of a run.
    type Inputs<'a>;

    /// The output type of a run.
    type Outputs;

    /// The inputs in declaration order.
    type Feeds<'a>: AsRef<[Feed<'a>]>;

    /// The outputs in declaration order.
    type Results: AsMut<[ArrayD<f32>]>;

    /// The network's name.
    fn name(&self) -> &str;

    /// The network's graph.
    fn graph(&self) -> &Graph;

    /// The inputs in declaration order: each a name and a shape.
    fn input_ports(&self) -> impl Iterator<Item = (&str, &Shape)> {
        ports::inputs(self.graph())
    }

    /// The outputs in declaration order: each a name and a shape.
    fn output_ports(&self) -> impl Iterator<Item = (&str, &Shape)> {
        ports::outputs(self.graph())
    }

    /// The inputs in declaration order. Their shapes are not checked.
    ///
    /// # Errors
    /// [`Error::UnknownInput`], [`Error::MissingInput`], [`Error::RepeatedInput`] and [`Error::UnnamedInput`], for
    /// networks whose inputs have names known only at run time.
    fn order_inputs<'a>(&self, inputs: Self::Inputs<'a>) -> Result<Self::Feeds<'a>, Error>;

    /// An array for each output, built from its index, in declaration order.
    fn make_results(&self, make: impl FnMut(usize) -> ArrayD<f32>) -> Self::Results;

    /// Converts the results of a run to the output type.
    fn name_results(&self, results: Self::Results) -> Self::Outputs;
}

impl<N: Network> AnyNetwork for N {
    type Inputs<'a> = <N as Network>::Inputs<'a>;
    type Outputs = <N as Network>::Outputs;
    type Feeds<'a> = <N as Network>::Feeds<'a>;
    type Results = <N as Network>::Results;

    fn name(&self) -> &str {
        N::NAME
    }

    fn graph(&self) -> &Graph {
        <N as Network>::graph()
    }

    fn order_inputs<'a>(
        &self,
        inputs: <N as Network>::Inputs<'a>,
    ) -> Result<<N as Network>::Feeds<'a>, Error> {
        Ok(N::feeds(inputs))
    }

    fn make_results(&self, make: impl FnMut(usize) -> ArrayD<f32>) -> <N as Network>::Results {
        N::results(make)
    }

    fn name_results(&self, results: <N as Network>::Results) -> <N as Network>::Outputs {
        N::outputs(results)
    }
}
