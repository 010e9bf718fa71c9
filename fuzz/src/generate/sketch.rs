//! A graph that grows operator by operator: operands are values of the graph if they fit, otherwise new sources.

use std::collections::HashMap;

use fastrand::Rng;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Graph;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::elementwise::{Unary, UnaryKind};
use windlass_compiler::ops::source::{Constant, Input, InputRole, Parameter, State};
use windlass_compiler::ops::structure::Reshape;
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::{DType, Dim, Polynomial, Shape, Symbol, Type};

use super::sizes::{self, MAX_ELEMENTS, pick};
use crate::values::POSITIVE;

/// The meaning of integers: operators only get integers of the meaning they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Argmax indices in windows with a number of elements.
    Argmax(usize),
    /// Sign masks.
    Bits,
    /// Rows of a table with a number of rows.
    Index(usize),
    /// Classes.
    Labels,
    /// Lengths of padded sequences.
    Lengths,
    /// A seed and a step number.
    Seed,
}

/// Whether a type is a batch of floats with items of fixed sizes.
fn is_batch(ty: &Type) -> bool {
    ty.dtype == DType::F32 && ty.shape.is_batched() && !ty.shape.has_open_item()
}

/// A graph under construction.
pub(crate) struct Sketch<'r> {
    pub(crate) numbers: &'r mut Rng,
    graph: Graph,
    meanings: HashMap<ValueId, Meaning>,
    sources: usize,
    /// The first axis of batched values.
    batch: Dim,
    /// Whether it is the body of a scan, whose only sources are inputs and constants.
    is_body: bool,
}

impl<'r> Sketch<'r> {
    pub(crate) fn new(numbers: &'r mut Rng) -> Self {
        // Steps of sequences are part of the batch, usually absent.
        let batch = pick(numbers, &["N", "N", "N", "N", "N", "N*3", "N*T", "N*T", "N*T*2"]);
        let batch = Dim::Open(batch.parse().expect("written as sizes are"));
        Self::with(numbers, batch, false)
    }

    fn with(numbers: &'r mut Rng, batch: Dim, is_body: bool) -> Self {
        Sketch { numbers, graph: Graph::new("fuzz"), meanings: HashMap::new(), sources: 0, batch, is_body }
    }

    /// The body of a scan in this graph.
    pub(crate) fn body(&mut self) -> Sketch<'_> {
        Sketch::with(self.numbers, self.batch.clone(), true)
    }

    pub(crate) fn is_body(&self) -> bool {
        self.is_body
    }

    /// The graph so far, and the meanings of its integers.
    pub(crate) fn into_parts(self) -> (Graph, HashMap<ValueId, Meaning>) {
        (self.graph, self.meanings)
    }

    /// The shape of a batch of items.
    pub(crate) fn batch_of(&self, item: &[usize]) -> Shape {
        Shape::new([self.batch.clone()]).with_item(item)
    }

    /// Whether an input has an open size.
    pub(crate) fn knows(&self, size: Symbol) -> bool {
        self.graph.inputs().any(|(_, input)| input.ty.shape.symbols().contains(&size))
    }

    /// The shape of a batch whose steps, if any, are a separate axis: `[N, T*2, 3]` for `[N*T*2, 3]`.
    pub(crate) fn unfolded(&self, shape: &Shape) -> Option<Shape> {
        let first = self.batch.polynomial();
        let (times, steps) = first.primitive();
        let has_steps = steps.symbols().len() > 1;
        if shape.dims().first() != Some(&self.batch) || times == 1 && !has_steps {
            return None;
        }
        let steps = if has_steps { "T".parse::<Polynomial>().ok()? } else { Polynomial::from(1usize) };
        let steps = Dim::from(steps.scaled(times as i64));
        Some(Shape::batch_of(std::iter::once(steps).chain(shape.item_dims().iter().cloned())))
    }

    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.numbers.usize(..of) == 0
    }

    pub(crate) fn ty(&self, value: ValueId) -> Type {
        self.graph.ty(value).clone()
    }

    pub(crate) fn item(&self, value: ValueId) -> Vec<usize> {
        self.graph.ty(value).shape.item()
    }

    pub(crate) fn meaning(&self, value: ValueId) -> Option<Meaning> {
        self.meanings.get(&value).copied()
    }

    pub(crate) fn means(&mut self, value: ValueId, meaning: Option<Meaning>) {
        self.meanings.extend(meaning.map(|meaning| (value, meaning)));
    }

    /// Adds an operator whose operands fit.
    #[track_caller]
    pub(crate) fn op(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Vec<ValueId> {
        match self.graph.add(op, operands, "") {
            Ok(results) => results,
            Err(error) => panic!("the generator made an invalid operator: {error}"),
        }
    }

    /// A value that fits, if there is one: later ones are likelier.
    pub(crate) fn find(&mut self, fits: impl Fn(&Type) -> bool) -> Option<ValueId> {
        let fitting: Vec<ValueId> = (0..self.graph.value_count())
            .map(ValueId::new)
            .filter(|&value| fits(self.graph.ty(value)))
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let back = self.numbers.usize(..fitting.len()).min(self.numbers.usize(..fitting.len()));
        Some(fitting[fitting.len() - 1 - back])
    }

    fn name(&mut self, prefix: &str) -> String {
        self.sources += 1;
        format!("{prefix}{}", self.sources)
    }

    /// A new input.
    pub(crate) fn input(&mut self, prefix: &str, role: InputRole, ty: Type) -> ValueId {
        let name = self.name(prefix);
        self.op(Input { name, role, ty }, &[])[0]
    }

    /// A new parameter.
    pub(crate) fn parameter(&mut self, prefix: &str, shape: Shape) -> ValueId {
        let name = self.name(prefix);
        self.op(Parameter { name, shape, init: Initializer::ONES }, &[])[0]
    }

    /// A new state.
    pub(crate) fn state(&mut self, prefix: &str, shape: Shape) -> ValueId {
        let name = self.name(prefix);
        self.op(State { name, shape, init: Initializer::ZEROS }, &[])[0]
    }

    /// A new constant of small numbers; of positive powers of two, or often of all ones or zeros, which passes look
    /// for.
    pub(crate) fn constant(&mut self, shape: Shape, positive: bool) -> ValueId {
        let all = pick(self.numbers, &[None, None, Some(1.0), Some(0.0)]);
        let values = (0..shape.item_elements())
            .map(|_| match (positive, all) {
                (true, _) => pick(self.numbers, &[0.25, 0.5, 1.0, 2.0]),
                (false, Some(all)) => all,
                (false, None) => pick(self.numbers, &[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]),
            })
            .collect();
        self.op(Constant { shape, values }, &[])[0]
    }

    /// A new source of floats: an input if it has a batch axis, otherwise a source of any kind.
    pub(crate) fn source(&mut self, ty: &Type, positive: bool) -> ValueId {
        let prefix = |usual: &'static str| if positive { POSITIVE } else { usual };
        let shape = ty.shape.clone();
        if self.is_body {
            return match self.chance(4) && !shape.is_batched() {
                true => self.constant(shape, positive),
                false => self.input(prefix("x"), InputRole::Data, ty.clone()),
            };
        }
        if shape.is_batched() {
            let role = if self.chance(8) { InputRole::Control } else { InputRole::Data };
            return self.input(prefix("x"), role, ty.clone());
        }
        match self.numbers.u8(..10) {
            0..5 => self.parameter(prefix("w"), shape),
            5..7 => self.state(prefix("s"), shape),
            7 => self.input(prefix("c"), InputRole::Control, ty.clone()),
            8 => self.input(prefix("d"), InputRole::Data, ty.clone()),
            _ => self.constant(shape, positive),
        }
    }

    /// A value of a type: an existing one, perhaps of another shape, or a new source.
    pub(crate) fn of_type(&mut self, ty: &Type) -> ValueId {
        assert_eq!(ty.dtype, DType::F32);
        if self.numbers.bool()
            && let Some(value) = self.find(|other| other == ty)
        {
            return value;
        }
        if self.chance(6) {
            let count = ty.shape.count();
            let same = |other: &Type| other.dtype == DType::F32 && other.shape.count() == count;
            if let Some(value) = self.find(same) {
                return self.op(Reshape { shape: ty.shape.clone() }, &[value])[0];
            }
        }
        self.source(ty, false)
    }

    /// A value of a type with positive elements: a variance, a divisor.
    pub(crate) fn positive(&mut self, ty: &Type) -> ValueId {
        if self.chance(3)
            && let Some(value) = self.find(|other| other == ty)
        {
            let kind = pick(self.numbers, &[UnaryKind::Sigmoid, UnaryKind::Exp]);
            let bounded = self.op(Unary { kind: UnaryKind::Tanh }, &[value])[0];
            return self.op(Unary { kind }, &[bounded])[0];
        }
        self.source(ty, true)
    }

    /// A batch of floats with channels.
    pub(crate) fn batched(&mut self) -> ValueId {
        let fits = |ty: &Type| is_batch(ty) && ty.shape.rank() >= 2;
        if !self.chance(5)
            && let Some(value) = self.find(fits)
        {
            return value;
        }
        if self.numbers.bool() { self.new_vector() } else { self.new_image() }
    }

    /// A batch of images.
    pub(crate) fn image(&mut self) -> ValueId {
        let fits = |ty: &Type| is_batch(ty) && (3..=5).contains(&ty.shape.rank());
        if !self.chance(4)
            && let Some(value) = self.find(fits)
        {
            return value;
        }
        self.new_image()
    }

    /// A batch of vectors.
    pub(crate) fn vector(&mut self) -> ValueId {
        let batch = self.batch.clone();
        let fits = |ty: &Type| is_batch(ty) && ty.shape.rank() == 2 && ty.shape.dims()[0] == batch;
        if !self.chance(4)
            && let Some(value) = self.find(fits)
        {
            return value;
        }
        let flat = |ty: &Type| is_batch(ty) && ty.shape.item_elements() < 600 && ty.shape.dims()[0] == batch;
        if self.numbers.bool()
            && let Some(value) = self.find(flat)
        {
            let shape = self.batch_of(&[self.ty(value).shape.item_elements()]);
            return self.op(Reshape { shape }, &[value])[0];
        }
        self.new_vector()
    }

    /// Any floats with items of fixed sizes.
    pub(crate) fn floats(&mut self) -> ValueId {
        if !self.chance(5)
            && let Some(value) = self.find(|ty| ty.dtype == DType::F32 && !ty.shape.has_open_item())
        {
            return value;
        }
        self.new_floats()
    }

    /// Any floats.
    pub(crate) fn any_floats(&mut self) -> ValueId {
        if !self.chance(5)
            && let Some(value) = self.find(|ty| ty.dtype == DType::F32)
        {
            return value;
        }
        self.new_floats()
    }

    fn new_floats(&mut self) -> ValueId {
        if self.chance(3) {
            let sizes = self.fixed_sizes();
            return self.source(&Type::f32(Shape::fixed(&sizes)), false);
        }
        self.batched()
    }

    /// Sizes of a value without a batch axis: a scalar, a vector, or more axes.
    pub(crate) fn fixed_sizes(&mut self) -> Vec<usize> {
        let rank = pick(self.numbers, &[0, 1, 1, 2, 2, 4]);
        let mut sizes: Vec<usize> = (0..rank).map(|_| sizes::channels(self.numbers)).collect();
        while sizes.iter().product::<usize>() > MAX_ELEMENTS {
            for size in &mut sizes {
                *size = size.div_ceil(2);
            }
        }
        sizes
    }

    fn new_vector(&mut self) -> ValueId {
        let sizes = [sizes::channels(self.numbers)];
        self.source(&Type::f32(self.batch_of(&sizes)), false)
    }

    fn new_image(&mut self) -> ValueId {
        let channels = sizes::channels(self.numbers);
        let axes = sizes::axes(self.numbers);
        let item = [vec![channels], sizes::spatial(self.numbers, axes, channels)].concat();
        self.source(&Type::f32(self.batch_of(&item)), false)
    }

    /// Integers of a meaning: existing ones, or a new input.
    pub(crate) fn integers(&mut self, shape: &Shape, meaning: Meaning) -> ValueId {
        let ty = Type::i32(shape.clone());
        let fitting: Vec<ValueId> = (0..self.graph.value_count())
            .map(ValueId::new)
            .filter(|&value| *self.graph.ty(value) == ty && self.meaning(value) == Some(meaning))
            .collect();
        if !fitting.is_empty() && !self.chance(4) {
            return pick(self.numbers, &fitting);
        }
        let role = if meaning == Meaning::Seed { InputRole::Control } else { InputRole::Data };
        let value = self.input("i", role, ty);
        self.means(value, Some(meaning));
        value
    }

    /// Any existing integers.
    pub(crate) fn any_integers(&mut self) -> Option<ValueId> {
        self.find(|ty| ty.dtype == DType::I32)
    }

    /// Names outputs and updates, and returns the graph with its mode.
    pub(crate) fn finish(mut self) -> (Graph, Mode) {
        let counts = self.graph.use_counts();
        let floats: Vec<ValueId> = (0..self.graph.value_count())
            .map(ValueId::new)
            .filter(|&value| self.graph.ty(value).dtype == DType::F32)
            .collect();
        if floats.is_empty() {
            // Integers alone are not returned.
            let value = self.new_vector();
            return self.with_ends(&[value], &[]);
        }
        let mut outputs: Vec<ValueId> = floats
            .iter()
            .copied()
            .filter(|value| counts[value.index()] == 0)
            .filter(|_| self.numbers.u8(..8) > 0)
            .collect();
        // Values that are used and named, and perhaps named twice; sources too.
        for _ in 0..self.numbers.usize(..3) {
            outputs.push(pick(self.numbers, &floats));
        }
        if outputs.is_empty() {
            outputs.push(floats[floats.len() - 1]);
        }
        let mut updates = Vec::new();
        if self.numbers.bool() {
            let parameters = self.graph.parameters().map(|(value, source)| (value, source.name.clone()));
            let states = self.graph.states().map(|(value, source)| (value, source.name.clone()));
            let stored: Vec<(ValueId, String)> = parameters.chain(states).collect();
            for (target, name) in stored {
                let ty = self.ty(target);
                if self.numbers.bool()
                    && let Some(value) = self.find(|other| *other == ty)
                {
                    updates.push((name, value));
                }
            }
        }
        self.with_ends(&outputs, &updates)
    }

    fn with_ends(mut self, outputs: &[ValueId], updates: &[(String, ValueId)]) -> (Graph, Mode) {
        let names = "names are new, and types are those of the sources";
        for (index, &value) in outputs.iter().enumerate() {
            self.graph.add_output(&format!("y{index}"), value).expect(names);
        }
        for (name, value) in updates {
            self.graph.add_update(name, *value).expect(names);
        }
        let training = !updates.is_empty() || self.numbers.bool();
        (self.graph, if training { Mode::Training } else { Mode::Inference })
    }
}
