//! Builds losses from operators. Losses against labels run on rows of classes: each position of an image or step of a
//! sequence is a row of its own.

use std::collections::BTreeSet;

use super::{AutodiffError, Loss, LossGraph, OutputLoss, TrainingOptions, names};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Named, Node, losses};
use crate::ops::Op;
use crate::ops::ctc::Ctc;
use crate::ops::elementwise::{Activation, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use crate::ops::loss::{CrossEntropy, MeanSquaredError, OneHot};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::softmax::LogSoftmax;
use crate::ops::source::{Constant, Input, InputRole};
use crate::ops::structure::Reshape;
use crate::shape::{DType, Dim, Shape, Symbol, Type};

/// The label of nodes that belong to the loss and not to a layer.
const LABEL: &str = "loss";

/// The axis of the classes of an output: the last one of a sequence `[N, S, C]`, else the first one after the batch and
/// the open sizes, as in `[N, C, H, W]`.
pub fn class_axis(shape: &Shape) -> usize {
    let last = shape.rank().saturating_sub(1);
    if shape.is_sequence() {
        return last;
    }
    let open = shape.dims().iter().rposition(|dim| dim.fixed().is_none());
    open.map_or(0, |axis| axis + 1).min(last)
}

/// A loss of a network: what it reads, its weight in the sum, and the names of its inputs.
pub(super) struct Term<'o> {
    loss: &'o Loss,
    /// The outputs that it reads; only a loss of one's own may read several.
    pub(super) outputs: Vec<Named>,
    weight: f64,
    names: Names,
}

/// The losses of the options, checked against the outputs of a network.
pub(super) fn terms<'o>(graph: &Graph, options: &'o TrainingOptions) -> Result<Vec<Term<'o>>, AutodiffError> {
    if options.losses.is_empty() {
        let outputs = match &options.loss {
            Loss::Custom(custom) => custom_outputs(graph, custom)?,
            loss => {
                let output = chosen_output(graph, options.output.as_deref())?;
                check_loss(graph, loss, &output)?;
                vec![output]
            }
        };
        let names = Names {
            labels: names::LABELS.to_owned(),
            target: names::TARGET.to_owned(),
            label_lengths: names::LABEL_LENGTHS.to_owned(),
            step_lengths: names::STEP_LENGTHS.to_owned(),
        };
        return Ok(vec![Term { loss: &options.loss, outputs, weight: 1.0, names }]);
    }
    if let Some(output) = &options.output {
        return Err(AutodiffError::OutputBesideLosses { output: output.clone() });
    }
    let mut terms: Vec<Term> = Vec::new();
    for OutputLoss { output, loss, weight } in &options.losses {
        if matches!(loss, Loss::Custom(_)) {
            return Err(AutodiffError::CustomInList);
        }
        if terms.iter().flat_map(|other| &other.outputs).any(|other| other.name == *output) {
            return Err(AutodiffError::RepeatedLoss { output: output.clone() });
        }
        check(
            "weight",
            *weight,
            (*weight as f32).is_finite() && *weight >= 0.0,
            "at least 0, and finite as an f32",
        )?;
        let found = chosen_output(graph, Some(output))?;
        check_loss(graph, loss, &found)?;
        let names = Names {
            labels: names::labels_of(output),
            target: names::target_of(output),
            label_lengths: names::label_lengths_of(output),
            step_lengths: names::step_lengths_of(output),
        };
        terms.push(Term { loss, outputs: vec![found], weight: *weight, names });
    }
    Ok(terms)
}

/// Adds losses, weighted and summed, and the inputs for their labels or targets.
pub(super) fn add(graph: &mut Graph, terms: &[Term<'_>]) -> Result<ValueId, AutodiffError> {
    let mut sum = None;
    for Term { loss, outputs, weight, names } in terms {
        let mut term = add_one(graph, loss, outputs, names)?;
        let mut terms = Terms { graph };
        if *weight != 1.0 {
            let weight = terms.number(*weight)?;
            term = terms.binary(BinaryKind::Multiply, term, weight)?;
        }
        sum = Some(match sum {
            Some(sum) => terms.binary(BinaryKind::Add, sum, term)?,
            None => term,
        });
    }
    sum.ok_or(AutodiffError::NothingToTrain)
}

/// The names of the inputs of a loss.
pub(super) struct Names {
    labels: String,
    target: String,
    label_lengths: String,
    step_lengths: String,
}

/// The outputs that a loss of one's own reads.
fn custom_outputs(graph: &Graph, custom: &LossGraph) -> Result<Vec<Named>, AutodiffError> {
    let told: Vec<Symbol> = graph.inputs().flat_map(|(_, input)| input.ty.shape.symbols()).collect();
    if let Some(size) = custom.symbols().into_iter().find(|size| !told.contains(size)) {
        return Err(AutodiffError::CustomSize { size });
    }
    let mut outputs = Vec::new();
    for input in custom.read() {
        let Some(output) = graph.outputs().iter().find(|output| output.name == input.name) else { continue };
        if *graph.ty(output.value) != input.ty {
            return Err(AutodiffError::CustomOutput {
                output: input.name.clone(),
                expected: input.ty.clone(),
                got: graph.ty(output.value).clone(),
            });
        }
        outputs.push(output.clone());
    }
    match outputs.is_empty() {
        true => Err(AutodiffError::CustomWithoutOutput {
            known: graph.outputs().iter().map(|output| output.name.clone()).collect(),
        }),
        false => Ok(outputs),
    }
}

/// Adds a loss of one's own, and the inputs for its targets.
fn add_custom(graph: &mut Graph, custom: &LossGraph, outputs: &[Named]) -> Result<ValueId, AutodiffError> {
    let outputs = outputs.iter().map(|output| (output.name.as_str(), output.value)).collect();
    let each = custom.inline(graph, &outputs, LABEL)?;
    let mut terms = Terms { graph };
    let shape = terms.graph.ty(each).shape.clone();
    let open = shape.dims().iter().rposition(|dim| dim.fixed().is_none()).unwrap_or(0);
    let each = terms.fold(each, open + 1)?;
    Ok(terms.mean(each)?)
}

fn check(
    setting: &'static str,
    value: f64,
    holds: bool,
    expected: &'static str,
) -> Result<(), AutodiffError> {
    if holds { Ok(()) } else { Err(AutodiffError::Setting { setting, value, expected }) }
}

fn chosen_output(graph: &Graph, name: Option<&str>) -> Result<Named, AutodiffError> {
    let known = || graph.outputs().iter().map(|output| output.name.clone()).collect();
    match (name, graph.outputs()) {
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(AutodiffError::OutputNotChosen { known: known() }),
        (Some(name), outputs) => outputs
            .iter()
            .find(|output| output.name == name)
            .cloned()
            .ok_or_else(|| AutodiffError::UnknownOutput { name: name.to_owned(), known: known() }),
    }
}

/// Checks the settings of a loss, and the conditions on an output that its type does not show.
fn check_loss(graph: &Graph, loss: &Loss, output: &Named) -> Result<(), AutodiffError> {
    let shape = &graph.ty(output.value).shape;
    let classes = shape.dims().get(class_axis(shape)).and_then(|dim| dim.fixed());
    match loss {
        Loss::CrossEntropy => check_logits(graph, loss, output, classes),
        Loss::CrossEntropyWith { label_smoothing, weights } => {
            let is_share = (0.0..1.0).contains(label_smoothing);
            check("label_smoothing", *label_smoothing, is_share, "at least 0 and below 1")?;
            check_logits(graph, loss, output, classes)?;
            check_weights(weights, output, classes)
        }
        Loss::NegativeLogLikelihood { weights } => check_weights(weights, output, classes),
        Loss::Ctc { blank, .. } => {
            let Some(classes) = classes.filter(|_| shape.is_sequence()) else {
                let (output, got) = (output.name.clone(), shape.display_item());
                return Err(AutodiffError::NotSteps { output, got });
            };
            check_logits(graph, loss, output, Some(classes))?;
            check("blank", *blank as f64, *blank < classes, "a class of the output")
        }
        Loss::Huber { delta } => {
            let is_allowed = (*delta as f32).is_normal() && *delta > 0.0;
            check("delta", *delta, is_allowed, "above 0, and finite and normal as an f32")
        }
        Loss::BinaryCrossEntropy => {
            let node = last_layer(graph, output);
            match &node.op {
                Op::Unary(Unary { kind: UnaryKind::Sigmoid }) => Err(AutodiffError::SigmoidBeforeLoss {
                    output: output.name.clone(),
                    layer: node.label.clone(),
                }),
                _ => Ok(()),
            }
        }
        Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::KlDivergence | Loss::Custom(_) => Ok(()),
    }
}

/// The node that computes an output, before reshapes.
fn last_layer<'g>(graph: &'g Graph, output: &Named) -> &'g Node {
    let mut node = graph.producer(output.value);
    while let (Op::Reshape(_), [operand]) = (&node.op, &node.operands[..]) {
        node = graph.producer(*operand);
    }
    node
}

/// Checks that an output is of logits of two classes or more.
fn check_logits(
    graph: &Graph,
    loss: &Loss,
    output: &Named,
    classes: Option<usize>,
) -> Result<(), AutodiffError> {
    let node = last_layer(graph, output);
    // A log-softmax is allowed: it maps its own result to itself.
    if let Op::Softmax(_) = node.op {
        let (output, layer) = (output.name.clone(), node.label.clone());
        return Err(AutodiffError::SoftmaxBeforeLoss { loss: loss.name(), output, layer });
    }
    match classes {
        Some(classes @ 0..2) => Err(AutodiffError::TooFewClasses { output: output.name.clone(), classes }),
        _ => Ok(()),
    }
}

fn check_weights(weights: &[f32], output: &Named, classes: Option<usize>) -> Result<(), AutodiffError> {
    if weights.is_empty() {
        return Ok(());
    }
    if let Some(classes) = classes.filter(|classes| *classes != weights.len()) {
        let (output, got) = (output.name.clone(), weights.len());
        return Err(AutodiffError::ClassWeights { output, classes, got });
    }
    let wrong = weights.iter().find(|weight| !weight.is_finite() || **weight < 0.0);
    wrong.map_or(Ok(()), |&weight| check("weights", f64::from(weight), false, "at least 0 and finite"))
}

/// Adds a loss, and the inputs for its labels or targets.
fn add_one(
    graph: &mut Graph,
    loss: &Loss,
    outputs: &[Named],
    names: &Names,
) -> Result<ValueId, AutodiffError> {
    let Some(output) = outputs.first() else { return Err(AutodiffError::NothingToTrain) };
    let mut terms = Terms { graph };
    let Names { labels, target, .. } = names;
    let loss = match loss {
        Loss::CrossEntropy => {
            let [rows, labels] = terms.rows(output.value, labels)?;
            terms.add(CrossEntropy {}, &[rows, labels])
        }
        Loss::CrossEntropyWith { label_smoothing, weights } => {
            let [rows, labels] = terms.rows(output.value, labels)?;
            let logarithms = terms.add(LogSoftmax {}, &[rows])?;
            terms.likelihood(logarithms, labels, weights, *label_smoothing)
        }
        Loss::NegativeLogLikelihood { weights } => {
            let [rows, labels] = terms.rows(output.value, labels)?;
            terms.likelihood(rows, labels, weights, 0.0)
        }
        Loss::MeanSquaredError => {
            let [y, target] = terms.pair(output.value, target)?;
            terms.add(MeanSquaredError {}, &[y, target])
        }
        Loss::MeanAbsoluteError => {
            let pair = terms.pair(output.value, target)?;
            terms.mean_of_difference(Activation::Abs, pair)
        }
        Loss::Huber { delta } => {
            let pair = terms.pair(output.value, target)?;
            terms.mean_of_difference(Activation::huber(*delta), pair)
        }
        Loss::BinaryCrossEntropy => {
            let [y, target] = terms.pair(output.value, target)?;
            terms.binary_cross_entropy(y, target)
        }
        Loss::KlDivergence => {
            let [y, target] = terms.pair(output.value, target)?;
            terms.divergence(y, target)
        }
        Loss::Custom(custom) => return add_custom(terms.graph, custom, outputs),
        Loss::Ctc { blank, per_label, zero_infinity } => {
            let op = Ctc { blank: *blank, per_label: *per_label, zero_infinity: *zero_infinity };
            terms.alignments(op, output.value, names)
        }
    };
    Ok(loss?)
}

/// The open size of the padded labels of a CTC loss: a symbol that the graph does not use.
fn unused_symbol(graph: &Graph) -> Symbol {
    let values = (0..graph.value_count()).map(ValueId::new);
    let used: BTreeSet<Symbol> = values.flat_map(|value| graph.ty(value).shape.symbols()).collect();
    let mut names =
        (0..=used.len()).map(|index| if index == 0 { "S".to_owned() } else { format!("S{index}") });
    names.find_map(|name| name.parse().ok().filter(|symbol| !used.contains(symbol))).unwrap_or(Symbol::BATCH)
}

/// Adds the nodes of a loss.
struct Terms<'g> {
    graph: &'g mut Graph,
}

impl Terms<'_> {
    fn add(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, GraphError> {
        self.graph.add_single(op, operands, LABEL)
    }

    fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.add(Binary { kind }, &[a, b])
    }

    fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, GraphError> {
        self.add(Unary { kind }, &[x])
    }

    fn number(&mut self, value: f64) -> Result<ValueId, GraphError> {
        self.add(Constant { shape: Shape::scalar(), values: vec![value as f32] }, &[])
    }

    fn input(&mut self, name: &str, ty: Type) -> Result<ValueId, GraphError> {
        self.add(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[])
    }

    /// A value with its first `axes` axes folded into one.
    fn fold(&mut self, value: ValueId, axes: usize) -> Result<ValueId, GraphError> {
        losses::fold(self.graph, LABEL, value, axes)
    }

    /// The rows of classes of an output, and the label of each.
    fn rows(&mut self, output: ValueId, labels: &str) -> Result<[ValueId; 2], GraphError> {
        let positions = losses::positions(&self.graph.ty(output).shape);
        let labels = self.input(labels, Type { dtype: DType::I32, shape: positions })?;
        losses::class_rows(self.graph, LABEL, [output, labels])
    }

    /// An output and its target of the same type, with open sizes folded into the batch.
    fn pair(&mut self, output: ValueId, target: &str) -> Result<[ValueId; 2], GraphError> {
        let ty = self.graph.ty(output).clone();
        let open = ty.shape.dims().iter().rposition(|dim| dim.fixed().is_none()).unwrap_or(0);
        let target = self.input(target, ty)?;
        Ok([self.fold(output, open + 1)?, self.fold(target, open + 1)?])
    }

    /// The sum of the elements of a batched value without other open sizes.
    fn sum(&mut self, value: ValueId) -> Result<ValueId, GraphError> {
        let shape = self.graph.ty(value).shape.clone();
        let flat = self.add(Reshape { shape: shape.with_item(&[1, shape.item_elements()]) }, &[value])?;
        let sum = self.add(SumChannels {}, &[flat])?;
        self.add(Reshape { shape: Shape::scalar() }, &[sum])
    }

    /// The mean of the elements of a batched value without other open sizes.
    fn mean(&mut self, value: ValueId) -> Result<ValueId, GraphError> {
        let axes = self.graph.ty(value).shape.rank() - 1;
        let items = match axes {
            0 => value,
            count => self.add(Reduce { kind: ReduceKind::Mean, axis: 1, count }, &[value])?,
        };
        let sum = self.sum(items)?;
        // The number of items: a one for each, also where an item is NaN.
        let (zero, one) = (self.number(0.0)?, self.number(1.0)?);
        let zeros = self.binary(BinaryKind::ReluGrad, items, zero)?;
        let ones = self.binary(BinaryKind::Add, zeros, one)?;
        let count = self.sum(ones)?;
        self.binary(BinaryKind::Divide, sum, count)
    }

    fn mean_of_difference(
        &mut self,
        of: Activation,
        [y, target]: [ValueId; 2],
    ) -> Result<ValueId, GraphError> {
        let difference = self.binary(BinaryKind::Subtract, y, target)?;
        let each = self.unary(UnaryKind::Activation(of), difference)?;
        self.mean(each)
    }

    fn binary_cross_entropy(&mut self, y: ValueId, target: ValueId) -> Result<ValueId, GraphError> {
        let each = losses::binary_cross_entropy(self.graph, LABEL, [y, target])?;
        self.mean(each)
    }

    /// `Σ t·(ln t − y)` over the classes, with 0 for `t = 0`, and its mean over everything else.
    fn divergence(&mut self, y: ValueId, target: ValueId) -> Result<ValueId, GraphError> {
        let logarithm = self.unary(UnaryKind::Log, target)?;
        let logarithm = self.binary(BinaryKind::ReluGrad, logarithm, target)?;
        let difference = self.binary(BinaryKind::Subtract, logarithm, y)?;
        let each = self.binary(BinaryKind::Multiply, target, difference)?;
        let axis = class_axis(&self.graph.ty(each).shape);
        let each = match self.graph.ty(each).shape.rank() {
            1 => each,
            _ => self.add(Reduce { kind: ReduceKind::Sum, axis, count: 1 }, &[each])?,
        };
        self.mean(each)
    }

    /// The mean negative log-likelihood of sequences of labels by logits of each step.
    fn alignments(&mut self, op: Ctc, logits: ValueId, names: &Names) -> Result<ValueId, GraphError> {
        let shape = self.graph.ty(logits).shape.clone();
        let items = shape.dims()[0].clone();
        let most = Dim::from(unused_symbol(self.graph));
        let labels = self.input(&names.labels, Type::i32(Shape::new([items.clone(), most])))?;
        let lengths = Type::i32(Shape::new([items]));
        let label_lengths = self.input(&names.label_lengths, lengths.clone())?;
        let step_lengths = self.input(&names.step_lengths, lengths)?;
        let rows = self.fold(logits, 2)?;
        let rows = self.add(LogSoftmax {}, &[rows])?;
        let logarithms = self.add(Reshape { shape }, &[rows])?;
        let losses = self.add(op, &[logarithms, labels, label_lengths, step_lengths])?;
        self.mean(losses)
    }

    /// The negative log-likelihood of labels by rows of logarithms of probabilities: `Σ wₗ·(−yₗ) / Σ wₗ` over the labels
    /// `l`. With smoothing `ε`, it is `1 − ε` of that and `ε/C·Σ Σ w_c·(−y_c) / Σ wₗ`.
    fn likelihood(
        &mut self,
        rows: ValueId,
        labels: ValueId,
        weights: &[f32],
        smoothing: f64,
    ) -> Result<ValueId, GraphError> {
        let classes = self.graph.ty(rows).shape.item().first().copied().unwrap_or(0);
        let chosen = self.add(OneHot { classes }, &[labels])?;
        // Selects, because 0 times the logarithm of 0 would be NaN.
        let mut likelihoods = self.binary(BinaryKind::ReluGrad, rows, chosen)?;
        let (mut all, mut shares) = (rows, chosen);
        if !weights.is_empty() {
            let shape = Shape::fixed(&[weights.len()]);
            let weights = self.add(Constant { shape, values: weights.to_vec() }, &[])?;
            let mut weighted = |value| self.add(Scale::along(1), &[value, weights]);
            likelihoods = weighted(likelihoods)?;
            shares = weighted(shares)?;
            if smoothing > 0.0 {
                all = weighted(all)?;
            }
        }
        let mut sum = self.sum(likelihoods)?;
        if smoothing > 0.0 {
            let (kept, spread) = (self.number(1.0 - smoothing)?, self.number(smoothing / classes as f64)?);
            let smooth = self.sum(all)?;
            let smooth = self.binary(BinaryKind::Multiply, smooth, spread)?;
            sum = self.binary(BinaryKind::Multiply, sum, kept)?;
            sum = self.binary(BinaryKind::Add, sum, smooth)?;
        }
        let shares = self.sum(shares)?;
        let mean = self.binary(BinaryKind::Divide, sum, shares)?;
        self.unary(UnaryKind::Negate, mean)
    }
}
