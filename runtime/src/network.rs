//! Networks, declared with `network!` or built at run time, and the values of their inputs and outputs.

mod any;
mod dynamic;
mod named;
pub(crate) mod ports;
mod samples;

use ndarray::ArrayD;
use windlass_compiler::graph::Graph;

pub use self::any::AnyNetwork;
pub use self::dynamic::Dynamic;
pub use self::named::{DynamicInputs, DynamicOutputs};
pub use self::samples::{Element, Feed, IndexInput, Input, InputError, Samples};

/// A network declared with `network!`: its graph is known at compile time.
///
/// The macro implements it. Models, predictors and trainers accept [`AnyNetwork`], which every such network implements.
pub trait Network: Copy + Send + Sync + 'static {
    /// The network's name.
    const NAME: &'static str;

    /// The names of the inputs, in declaration order.
    const INPUTS: &'static [&'static str];

    /// The names of the outputs, in declaration order.
    const OUTPUTS: &'static [&'static str];

    /// The network: the only value of its type.
    const VALUE: Self;

    /// The input type of a run: an [`Input`] or [`IndexInput`], or a struct with a field for each of several inputs.
    type Inputs<'a>;

    /// The output type of a run: an array, or a struct with a field for each named output.
    type Outputs;

    /// The inputs as an array.
    type Feeds<'a>: AsRef<[Feed<'a>]>;

    /// The outputs as an array.
    type Results: AsMut<[ArrayD<f32>]>;

    /// The network as declared, shapes checked.
    fn graph() -> &'static Graph;

    /// The inputs in declaration order.
    fn feeds(inputs: Self::Inputs<'_>) -> Self::Feeds<'_>;

    /// An array for each output, built from its index, in declaration order.
    fn results(make: impl FnMut(usize) -> ArrayD<f32>) -> Self::Results;

    /// Converts the results of a run to the output type.
    fn outputs(results: Self::Results) -> Self::Outputs;
}

/// Called by the expansion of `network!`; not part of the public interface.
#[doc(hidden)]
pub mod expansion {
    use windlass_compiler::autodiff::{Loss, LossGraph};

    use super::Graph;

    /// Parses the graph that the macro embedded in the program.
    ///
    /// # Panics
    /// If the text is not one that this version of Windlass writes.
    pub fn embedded(text: &str) -> Graph {
        match text.parse() {
            Ok(graph) => graph,
            Err(error) => panic!("the macro and the runtime disagree (a fault in Windlass): {error}"),
        }
    }

    /// Parses the loss that the macro embedded in the program.
    ///
    /// # Panics
    /// If the text is not one that this version of Windlass writes.
    pub fn embedded_loss(text: &str) -> Loss {
        match LossGraph::new(embedded(text)) {
            Ok(loss) => Loss::Custom(loss),
            Err(error) => panic!("the macro and the runtime disagree (a fault in Windlass): {error}"),
        }
    }
}
