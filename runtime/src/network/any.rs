//! What models, predictors and trainers ask of a network, whether it is known as the program compiles or only as it runs.

use ndarray::ArrayD;
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::Shape;

use super::{Input, Network, ports};
use crate::error::Error;

/// A network that models, predictors and trainers can be made of: one declared with `network!`, as every [`Network`] is, or
/// one built as the program runs, a [`Dynamic`](crate::Dynamic).
///
/// Functions that are generic over it take both:
///
/// ```
/// use windlass_runtime::network::AnyNetwork;
/// use windlass_runtime::{Error, Model, Options};
///
/// /// A model that computes on the thread that calls it.
/// fn serial<N: AnyNetwork>(network: N, seed: u64) -> Result<Model<N>, Error> {
///     Model::of(network, seed, &Options::default().threads(1))
/// }
/// ```
pub trait AnyNetwork: Clone + Send + Sync + 'static {
    /// What a run takes.
    type Inputs<'a>;

    /// What a run gives.
    type Outputs;

    /// The inputs in the order of declaration.
    type Feeds<'a>: AsRef<[Input<'a>]>;

    /// The outputs in the order of declaration.
    type Results: AsMut<[ArrayD<f32>]>;

    /// The network's name.
    fn name(&self) -> &str;

    /// The network's graph.
    fn graph(&self) -> &Graph;

    /// The inputs in the order of declaration: each a name and a shape.
    fn input_ports(&self) -> impl Iterator<Item = (&str, &Shape)> {
        ports::inputs(self.graph())
    }

    /// The outputs in the order of declaration: each a name and a shape.
    fn output_ports(&self) -> impl Iterator<Item = (&str, &Shape)> {
        ports::outputs(self.graph())
    }

    /// The inputs in the order of declaration. Their shapes are not looked at.
    ///
    /// # Errors
    /// [`Error::UnknownInput`], [`Error::MissingInput`], [`Error::RepeatedInput`] and [`Error::UnnamedInput`], for networks
    /// whose inputs have names that the program's compiler does not know.
    fn order_inputs<'a>(&self, inputs: Self::Inputs<'a>) -> Result<Self::Feeds<'a>, Error>;

    /// An array for each output, made from its place, in the order of declaration.
    fn make_results(&self, make: impl FnMut(usize) -> ArrayD<f32>) -> Self::Results;

    /// The results of a run as what a run gives.
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
