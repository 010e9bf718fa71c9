//! Builds a graph layer by layer, naming parameters after their layers.

use super::initializer::Initializer;
use super::{Graph, Layer, verify};
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Binary, BinaryKind, Scale};
use crate::ops::source::{Input, InputRole, Parameter, State};
use crate::ops::structure::Concat;
use crate::ops::{Op, Operator};
use crate::shape::{DType, Dim, Shape, Type};

/// How two values are combined element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combination {
    /// Their sum.
    Add,
    /// The left minus the right.
    Subtract,
    /// Their product.
    Multiply,
}

impl Combination {
    /// The name in `network!`.
    pub fn word(self) -> &'static str {
        match self {
            Combination::Add => "add",
            Combination::Subtract => "subtract",
            Combination::Multiply => "multiply",
        }
    }
}

/// Builds a [`Graph`] from layers; see [`Graph`] for an example.
#[derive(Clone, Debug)]
pub struct Builder {
    graph: Graph,
    /// Labels whose layers have the parameters of another label.
    shared: Vec<(String, String)>,
    /// Results of attention, with the weights of their values and the number of heads.
    pub(super) attended: Vec<(ValueId, ValueId, usize)>,
}

impl Builder {
    /// A builder of an empty network.
    pub fn new(name: &str) -> Self {
        Builder { graph: Graph::new(name), shared: Vec::new(), attended: Vec::new() }
    }

    pub(super) fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The sizes of one item of a value, without the batch axis.
    pub fn item(&self, value: ValueId) -> Vec<usize> {
        self.graph.ty(value).shape.item()
    }

    /// The axes of one item of a value; their sizes may be open.
    pub fn item_dims(&self, value: ValueId) -> &[Dim] {
        self.graph.ty(value).shape.item_dims()
    }

    /// A batch of inputs, each of the given sizes.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`], or [`GraphError::Shape`] for sizes of zero or too large.
    pub fn input(&mut self, name: &str, item: &[usize]) -> Result<ValueId, GraphError> {
        let ty = Type::f32(Shape::batched(item));
        self.op(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[], "")
    }

    /// A batch of inputs of an element type, whose sizes may be open: `[T, 40]`, or `[T]` for the words of a text.
    ///
    /// ```
    /// use windlass::{Builder, DType, Dim, Layer, Symbol};
    ///
    /// let mut builder = Builder::new("tagger");
    /// let steps: Symbol = "T".parse()?;
    /// let frames = builder.input_of("frames", DType::F32, [Dim::from(steps), Dim::from(40)])?;
    /// let scores = builder.layer("f1", &Layer::linear(5), frames)?;
    /// assert_eq!(builder.graph().ty(scores).to_string(), "f32[N, T, 5]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Builder::input`].
    pub fn input_of(
        &mut self,
        name: &str,
        dtype: DType,
        item: impl IntoIterator<Item = Dim>,
    ) -> Result<ValueId, GraphError> {
        let ty = Type { dtype, shape: Shape::batch_of(item) };
        self.op(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[], "")
    }

    /// Applies a layer to `x`. Its parameters are named `label.weight` and so on.
    ///
    /// Layers on vectors ([`Layer::Linear`], softmax) also accept sequences of vectors `[steps, features]`, and apply
    /// to each step. If the number of steps is open, so do all other layers, on the axes after the last open size, except
    /// that layers with windows of one axis slide along the steps of `[channels, steps]`, and batch normalisation has
    /// scalars for each of these channels.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the layer does not fit its input; [`GraphError::UnknownValue`] if `x` does not exist.
    pub fn layer(&mut self, label: &str, layer: &Layer, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph.check_exists(layer.name(), x)?;
        layer.build_on_steps(self, label, x).map_err(|error| match error {
            GraphError::Shape { error, .. } => GraphError::Shape { at: layer.name().to_owned(), error },
            other => other,
        })
    }

    /// Lets layers added later under `label`, and under labels that continue it (`label.conv`), use the parameters and
    /// states of `owner` instead of their own. In training, the gradients of all uses add up, and running statistics are
    /// updated by one use after another.
    ///
    /// ```
    /// use windlass_compiler::graph::{Builder, Layer};
    ///
    /// let mut builder = Builder::new("siamese");
    /// let (left, right) = (builder.input("left", &[8])?, builder.input("right", &[8])?);
    /// let left = builder.layer("f1", &Layer::linear(4), left)?;
    /// builder.share("again", "f1");
    /// let right = builder.layer("again", &Layer::linear(4), right)?;
    /// let difference = builder.combine("", windlass_compiler::graph::Combination::Subtract, left, right)?;
    /// builder.output("difference", difference)?;
    /// assert_eq!(builder.finish()?.parameters().count(), 2);
    /// # Ok::<(), windlass_compiler::error::GraphError>(())
    /// ```
    ///
    /// Adding such a layer is a [`GraphError::Shape`] if a parameter does not exist or has another shape.
    pub fn share(&mut self, label: &str, owner: &str) {
        self.shared.push((label.to_owned(), owner.to_owned()));
    }

    /// The label whose parameters the layers under a label have, if it is another one.
    fn owner(&self, label: &str) -> Option<String> {
        self.shared.iter().rev().find_map(|(from, owner)| {
            let rest = label.strip_prefix(from.as_str())?;
            (rest.is_empty() || rest.starts_with('.')).then(|| format!("{owner}{rest}"))
        })
    }

    /// A parameter or state: a new one, or that of the label whose parameters this label has.
    fn stored(&mut self, source: impl Into<Op>, label: &str, name: &str) -> Result<ValueId, GraphError> {
        let Some(owner) = self.owner(label) else { return self.op(source, &[], label) };
        let op = source.into();
        let needed = op.infer(&[]).map_err(|error| GraphError::Shape { at: label.to_owned(), error })?;
        let name = format!("{owner}.{name}");
        let found = self.graph.source(&name).filter(|&value| {
            // A state is not a parameter.
            std::mem::discriminant(&self.graph.producer(value).op) == std::mem::discriminant(&op)
        });
        match found {
            Some(value) if *self.graph.ty(value) == needed[0] => Ok(value),
            _ => {
                let found = found.map(|value| self.graph.ty(value).shape.clone());
                let error = ShapeError::SharedParameter { name, needed: needed[0].shape.clone(), found };
                Err(GraphError::Shape { at: label.to_owned(), error })
            }
        }
    }

    /// The sum of two values of equal shape.
    ///
    /// # Errors
    /// [`GraphError::Shape`] when the shapes differ.
    pub fn add(&mut self, label: &str, left: ValueId, right: ValueId) -> Result<ValueId, GraphError> {
        self.combine(label, Combination::Add, left, right)
    }

    /// The sum, difference or product of two values of equal shape. The right factor of a product may also have one
    /// element for each channel, `[C]` or `[C, 1, 1]`, or for each sample, `[1]` or `[1, 1, 1]`, as in
    /// squeeze-and-excitation blocks (Hu, Shen and Sun 2018, arXiv:1709.01507).
    ///
    /// ```
    /// use windlass::{Builder, Combination, Layer};
    ///
    /// let mut builder = Builder::new("excite");
    /// let image = builder.input("image", &[8, 5, 5])?;
    /// let means = builder.layer("squeeze", &Layer::GlobalAvgPool { axes: 2 }, image)?;
    /// let gate = builder.layer("gate", &Layer::Sigmoid, means)?;
    /// let scaled = builder.combine("excite", Combination::Multiply, image, gate)?;
    /// assert_eq!(builder.item(scaled), [8, 5, 5]);
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for any other shapes.
    pub fn combine(
        &mut self,
        label: &str,
        combination: Combination,
        left: ValueId,
        right: ValueId,
    ) -> Result<ValueId, GraphError> {
        for value in [left, right] {
            self.graph.check_exists(combination.word(), value)?;
            let Type { dtype, shape } = self.graph.ty(value).clone();
            if dtype == DType::I32 {
                let error = ShapeError::NeedsNumbers { got: shape };
                return Err(GraphError::Shape { at: combination.word().to_owned(), error });
            }
        }
        let kind = match combination {
            Combination::Add => BinaryKind::Add,
            Combination::Subtract => BinaryKind::Subtract,
            Combination::Multiply => {
                for (value, factors) in [(left, right), (right, left)] {
                    if let Some(count) = self.shared_factors(value, factors) {
                        let item = self.item(factors)[..count - 1].to_vec();
                        let shape = self.graph.ty(factors).shape.with_item(&item);
                        let factors = match self.graph.ty(factors).shape == shape {
                            true => factors,
                            false => self.reshape(label, factors, shape)?,
                        };
                        return self.op(Scale { axis: 0, count }, &[value, factors], label);
                    }
                }
                BinaryKind::Multiply
            }
        };
        self.op(Binary { kind }, &[left, right], label)
    }

    /// If all elements of a channel of `value`, or of a sample, have the same factor: the number of leading axes of
    /// `value` that the factors have.
    fn shared_factors(&self, value: ValueId, factors: ValueId) -> Option<usize> {
        let [shape, of_factors] = [value, factors].map(|value| &self.graph.ty(value).shape);
        let is_known = |shape: &Shape| shape.is_batched() && !shape.has_open_item() && shape.rank() > 1;
        if !is_known(shape) || !is_known(of_factors) || shape == of_factors {
            return None;
        }
        let (item, factors) = (shape.item(), of_factors.item());
        let fits = factors.len() == 1 || factors.len() == item.len();
        let rest_is_one = factors[1..].iter().all(|&size| size == 1);
        match factors[0] {
            channels if fits && rest_is_one && channels == item[0] => Some(2),
            1 if fits && rest_is_one => Some(1),
            _ => None,
        }
    }

    /// Concatenates several values along their channels.
    ///
    /// # Errors
    /// [`GraphError::Shape`] when they differ in another axis.
    pub fn concat(&mut self, label: &str, parts: &[ValueId]) -> Result<ValueId, GraphError> {
        self.op(Concat { axis: 1 }, parts, label)
    }

    /// Any operator with a result; returns the first result.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn op(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        label: &str,
    ) -> Result<ValueId, GraphError> {
        self.graph.add_single(op, operands, label)
    }

    /// Any operator; returns all results.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn ops(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        label: &str,
    ) -> Result<Vec<ValueId>, GraphError> {
        self.graph.add(op, operands, label)
    }

    /// A trainable parameter named `label.name`, or that of the owner of a shared label ([`Builder::share`]).
    ///
    /// # Errors
    /// As [`Graph::add`], and [`ShapeError::SharedParameter`].
    pub fn parameter(
        &mut self,
        label: &str,
        name: &str,
        sizes: &[usize],
        init: Initializer,
    ) -> Result<ValueId, GraphError> {
        let parameter = Parameter { name: format!("{label}.{name}"), shape: Shape::fixed(sizes), init };
        self.stored(parameter, label, name)
    }

    /// A state named `label.name`, or that of the owner of a shared label ([`Builder::share`]).
    ///
    /// # Errors
    /// As [`Graph::add`], and [`ShapeError::SharedParameter`].
    pub fn state(
        &mut self,
        label: &str,
        name: &str,
        sizes: &[usize],
        init: Initializer,
    ) -> Result<ValueId, GraphError> {
        let state = State { name: format!("{label}.{name}"), shape: Shape::fixed(sizes), init };
        self.stored(state, label, name)
    }

    /// Names a value as an output.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn output(&mut self, name: &str, value: ValueId) -> Result<(), GraphError> {
        self.graph.add_output(name, value)
    }

    /// The finished graph, verified.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] for a fault in Windlass.
    pub fn finish(self) -> Result<Graph, GraphError> {
        verify(&self.graph)?;
        Ok(self.graph)
    }
}
