//! The loss of a model and its gradients with respect to inputs and parameters, without an update.

use std::fmt;
use std::sync::Arc;

use ndarray::ArrayD;
use windlass_compiler::autodiff::{GradientGraphOptions, Loss, OutputLoss, gradient_graph, names};
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::setters;
use windlass_compiler::shape::Sizes;

use crate::error::Error;
use crate::executor::{Binding, Executor};
use crate::forward::{bind_inputs, empty_output, input_slots};
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::network::ports::Least;
use crate::tensor::NamedTensors;
use crate::trainer::{Controls, Declared, LabelRows, Target, Targets, label_rows, set_rows, single_value};

/// Which loss of a model is differentiated, and with respect to what.
///
/// ```
/// use windlass::{GradientOptions, Loss};
///
/// let options = GradientOptions::default().loss(Loss::MeanSquaredError).inputs(["image"]).parameters(["*.weight"]);
/// assert!(!options.graph.training);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GradientOptions {
    /// What is differentiated, with respect to what, and whether the network computes as in training.
    pub graph: GradientGraphOptions,
    /// The seed of the dropout masks in training mode. Every run draws the masks of a trainer's first step with this seed.
    pub seed: u32,
}

impl GradientOptions {
    /// Gradients of all inputs of numbers, and of no parameters: for saliency maps and adversarial examples.
    pub fn of_inputs() -> Self {
        GradientOptions::default().parameters([""; 0])
    }

    /// Gradients of all parameters, and of no inputs.
    pub fn of_parameters() -> Self {
        GradientOptions::default().inputs([""; 0])
    }

    setters! {
        /// The cross-entropy by default.
        [graph] loss: Loss;
        /// Several outputs are weighted and summed, instead of `loss`.
        [graph] losses: impl Into<Vec<OutputLoss>> = losses.into();
        /// The output used for the loss; by default the only one.
        [graph] output: impl Into<String> = Some(output.into());
        /// By default, all inputs of numbers have gradients.
        [graph] inputs: impl IntoIterator<Item = impl Into<String>> =
            Some(inputs.into_iter().map(Into::into).collect());
        /// Names, layers or patterns, as [`names::matches`] says; by default, all parameters have gradients.
        [graph] parameters: impl IntoIterator<Item = impl Into<String>> =
            Some(parameters.into_iter().map(Into::into).collect());
        /// By default, the network computes as in prediction.
        [graph] training: bool;
        seed: u32;
    }
}

/// The loss of a batch, and its gradients.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Gradients {
    /// The mean loss of the batch.
    pub loss: f32,
    /// The gradient of each input that was asked for, `[N, …]`. The loss is a mean over the batch, so the gradient of a
    /// sample is that of its own loss divided by the number of samples.
    pub inputs: NamedTensors,
    /// The gradient of each parameter that was asked for, of its shape.
    pub parameters: NamedTensors,
    /// The outputs of the network, `[N, …]`.
    pub outputs: NamedTensors,
}

/// What an output of the program is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Loss,
    Input,
    Parameter,
    Output,
}

/// The compiled loss and gradients of a network: [`Model::differentiate`] makes it once, for any number of runs, from any
/// number of threads. Its debugging form is one line.
pub struct Differentiator<N> {
    network: N,
    options: GradientOptions,
    graph: Graph,
    executor: Executor,
    inputs: Vec<Option<usize>>,
    /// The slots of parameters and states.
    parameters: Vec<usize>,
    /// The outputs: each its slot, what it is, and its name.
    outputs: Vec<(usize, Place, String)>,
    /// The output of the loss, or of the first one.
    of_loss: String,
    declared: Arc<Declared>,
    rows: Vec<LabelRows>,
    single_value: Option<String>,
}

impl<N: AnyNetwork> fmt::Debug for Differentiator<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = self.executor.program().plan().run.len();
        write!(
            f,
            "Differentiator<{}> {{ outputs: {}, kernels: {kernels} }}",
            self.network.name(),
            self.outputs.len()
        )
    }
}

impl<N: AnyNetwork> Model<N> {
    /// Compiles the loss and its gradients with respect to inputs and parameters, with the model's options and on its
    /// threads.
    ///
    /// A saliency map (Simonyan, Vedaldi and Zisserman 2013, arXiv:1312.6034), and an adversarial example by the fast gradient sign
    /// method (Goodfellow, Shlens and Szegedy 2014, arXiv:1412.6572):
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, GradientOptions, Layer};
    ///
    /// let mut builder = Builder::new("Grey");
    /// let image = builder.input("image", &[1, 4, 4])?;
    /// let flat = builder.layer("", &Layer::Flatten, image)?;
    /// let scores = builder.layer("f1", &Layer::linear(3), flat)?;
    /// builder.output("class", scores)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(1)?;
    ///
    /// let differentiator = model.differentiate(&GradientOptions::of_inputs())?;
    /// let image: Vec<f32> = (0..16).map(|pixel| pixel as f32 / 16.0).collect();
    /// let gradients = differentiator.run(&model, &image, &[2])?;
    /// let saliency = gradients.inputs["image"].mapv(f32::abs);
    /// assert_eq!(saliency.shape(), [1, 1, 4, 4]);
    ///
    /// let towards = gradients.inputs["image"].mapv(|slope| 0.1 * slope.signum());
    /// let changed: Vec<f32> = image.iter().zip(&towards).map(|(pixel, change)| pixel + change).collect();
    /// assert!(differentiator.run(&model, &changed, &[2])?.loss > gradients.loss);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Differentiate`] for an unknown input or parameter, an input of indices, or a loss that does not fit the network;
    /// [`Error::Compile`].
    pub fn differentiate(&self, options: &GradientOptions) -> Result<Differentiator<N>, Error> {
        Differentiator::new(self, options)
    }
}

impl<N: AnyNetwork> Differentiator<N> {
    fn new(model: &Model<N>, options: &GradientOptions) -> Result<Self, Error> {
        let network = model.network().clone();
        let graph = gradient_graph(network.graph(), &options.graph).map_err(|reason| {
            Error::Differentiate { network: network.name().to_owned(), reason: Box::new(reason) }
        })?;
        let (executor, _) = model.compile_beside(&graph, Mode::Training)?;
        let ports = model.ports();
        let place = |name: &str| {
            let is_gradient = |source: &str| names::gradient_of(source) == name;
            if name == names::LOSS {
                return (Place::Loss, name.to_owned());
            }
            if let Some((own, _)) = ports.outputs.iter().find(|(own, _)| own == name) {
                return (Place::Output, own.clone());
            }
            match ports.inputs.iter().find(|(own, _)| is_gradient(own)) {
                Some((own, _)) => (Place::Input, own.clone()),
                None => (Place::Parameter, name.split_once('.').map_or(name, |(_, own)| own).to_owned()),
            }
        };
        let slots = || executor.slots().iter().enumerate();
        let outputs = slots().filter(|(_, slot)| slot.kind == SlotKind::Output).map(|(slot, output)| {
            let (place, name) = place(&output.name);
            (slot, place, name)
        });
        let outputs = outputs.collect();
        let parameters = slots().filter(|(_, slot)| slot.kind == SlotKind::Parameter).map(|(slot, _)| slot);
        let parameters = parameters.collect();
        let first = || ports.outputs.first().map_or("", |(name, _)| name).to_owned();
        let listed = options.graph.losses.first().map(|loss| loss.output.clone());
        Ok(Differentiator {
            options: options.clone(),
            inputs: input_slots(&executor, ports),
            parameters,
            outputs,
            of_loss: listed.or_else(|| options.graph.output.clone()).unwrap_or_else(first),
            declared: Declared::of(&options.graph.loss, &options.graph.losses, ports),
            rows: label_rows(&graph),
            single_value: single_value(&graph),
            network,
            graph,
            executor,
        })
    }

    /// The loss of a batch of any size, its gradients, and the network's outputs. Parameters are the present ones of the
    /// model, which may have changed since the last run: a model of the same network, such as that of a trainer.
    ///
    /// # Errors
    /// Those of [`Model::forward`] for the inputs, and of [`Trainer::step`](crate::Trainer::step) for the target;
    /// [`Error::Binding`] for a model of another network.
    pub fn run<'a, 't>(
        &self,
        model: &Model<N>,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<Gradients, Error> {
        let feeds = self.network.order_inputs(inputs.into())?;
        let feeds = feeds.as_ref();
        let target = self.declared.named(self.network.name(), target.into())?;
        let sizes = self.checked_sizes(model, feeds, &target)?;
        let mut controls = Controls::of_seed(self.options.seed);
        if !self.rows.is_empty() {
            controls.all_steps.resize(sizes.batch(), i32::MAX);
        }
        let mut results: Vec<ArrayD<f32>> = Vec::with_capacity(self.outputs.len());
        for (slot, _, _) in &self.outputs {
            let shape = &self.executor.slots()[*slot].ty.shape;
            results.push(empty_output(self.network.name(), shape, &sizes)?);
        }
        let mut run = self.executor.start(sizes)?;
        bind_inputs(&mut run, &self.inputs, feeds)?;
        for (place, slot) in self.executor.slots().iter().enumerate() {
            let is_input = slot.kind == SlotKind::Input;
            if let Some(binding) =
                is_input.then(|| controls.binding(&slot.name, slot.ty.dtype, &target)).flatten()
            {
                run.bind(place, binding)?;
            }
        }
        for (place, &slot) in self.parameters.iter().enumerate() {
            if let Some(values) = model.parameters().read(&self.executor.slots()[slot].name, place) {
                run.bind(slot, values)?;
            }
        }
        for ((slot, _, _), result) in self.outputs.iter().zip(&mut results) {
            if let Some(elements) = result.as_slice_mut() {
                run.bind(*slot, Binding::Written(elements))?;
            }
        }
        run.execute(model.parameters().version())?;
        let mut gradients = Gradients::default();
        for ((_, place, name), result) in self.outputs.iter().zip(results) {
            let tensors = match place {
                Place::Loss => {
                    gradients.loss = result.first().copied().unwrap_or(f32::NAN);
                    continue;
                }
                Place::Input => &mut gradients.inputs,
                Place::Parameter => &mut gradients.parameters,
                Place::Output => &mut gradients.outputs,
            };
            tensors.insert(name.clone(), result);
        }
        Ok(gradients)
    }

    /// The open sizes of a run, after checking that the target fits the inputs.
    fn checked_sizes(
        &self,
        model: &Model<N>,
        feeds: &[crate::network::Feed<'_>],
        target: &Target<'_>,
    ) -> Result<Sizes, Error> {
        let name = self.network.name();
        let mut sizes = model.ports().sizes(name, feeds, Least::OneStep)?;
        let targets = Targets {
            network: name,
            ports: model.ports(),
            loss: &self.options.graph.loss,
            losses: &self.options.graph.losses,
            output: &self.of_loss,
            declared: &self.declared,
        };
        targets.check(target, &sizes)?;
        set_rows(&self.rows, target, &mut sizes);
        match &self.single_value {
            Some(layer) if sizes.batch() == 1 => {
                Err(Error::SingleValue { network: name.to_owned(), layer: layer.clone() })
            }
            _ => Ok(sizes),
        }
    }

    /// The graph: the network, its loss and the gradients, which are its outputs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}
