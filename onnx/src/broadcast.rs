//! Functions of two values whose axes of size 1 are repeated.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::source::Constant;
use windlass_compiler::shape::{Dim, Shape};

use crate::error::{Reason, unsupported};
use crate::expand::check_broadcast;
use crate::importer::Importer;
use crate::movement::fixed;
use crate::value::{Batch, Data, Meaning, Value, Weight};

/// The axes of a function of two values with these axes.
pub(crate) fn common(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, Reason> {
    let rank = left.len().max(right.len());
    let padded = |dims: &[Dim]| -> Vec<Dim> {
        std::iter::repeat_n(Dim::Fixed(1), rank - dims.len()).chain(dims.iter().cloned()).collect()
    };
    let pair = |(left, right): (Dim, Dim)| match (left.fixed(), right.fixed()) {
        _ if left == right => Some(left),
        (Some(1), _) => Some(right),
        (_, Some(1)) => Some(left),
        _ => None,
    };
    let dims: Option<Vec<Dim>> = padded(left).into_iter().zip(padded(right)).map(pair).collect();
    dims.ok_or_else(|| {
        let list = |dims: &[Dim]| Shape::new(dims.to_vec()).to_string();
        Reason::Unsupported(format!("its operands of shapes {} and {} do not fit", list(left), list(right)))
    })
}

/// The axes of the graph along which a parameter varies: the first, and the parameter with these axes.
struct Run {
    axis: usize,
    weight: Weight,
}

impl Importer<'_> {
    pub(crate) fn unary_op(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, Reason> {
        self.op(Unary { kind }, &[x])
    }

    pub(crate) fn binary_op(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, Reason> {
        self.op(Binary { kind }, &[a, b])
    }

    /// A number.
    pub(crate) fn scalar(&mut self, number: f32) -> Result<ValueId, Reason> {
        self.op(Constant { shape: Shape::scalar(), values: vec![number] }, &[])
    }

    /// A function of each element of a value that is not known.
    pub(crate) fn map(
        &mut self,
        value: &Value,
        function: impl FnOnce(&mut Self, ValueId) -> Result<ValueId, Reason>,
    ) -> Result<Value, Reason> {
        match value {
            Value::Data(data) => {
                self.expect_numbers(data)?;
                let result = function(self, data.value)?;
                Ok(data.replaced(result).into())
            }
            other => {
                let weight = self.weight(other)?;
                let value = function(self, weight.value)?;
                Ok(Weight::new(value, weight.dims).into())
            }
        }
    }

    pub(crate) fn unary(&mut self, kind: UnaryKind, value: &Value) -> Result<Value, Reason> {
        self.map(value, |importer, x| importer.unary_op(kind, x))
    }

    pub(crate) fn with_number(
        &mut self,
        kind: BinaryKind,
        value: &Value,
        number: f32,
    ) -> Result<Value, Reason> {
        self.map(value, |importer, x| {
            let number = importer.scalar(number)?;
            importer.binary_op(kind, x, number)
        })
    }

    /// Refuses integers that are inputs.
    pub(crate) fn expect_numbers(&self, data: &Data) -> Result<(), Reason> {
        match data.meaning {
            Meaning::Index => {
                unsupported("it computes with integers that are inputs, which may only be indices")
            }
            _ => Ok(()),
        }
    }

    /// A function of two values, the elements of which are repeated along axes of size 1.
    pub(crate) fn binary(&mut self, kind: BinaryKind, left: &Value, right: &Value) -> Result<Value, Reason> {
        let dims = common(&left.dims(), &right.dims())?;
        for value in [left, right] {
            if let Value::Data(data) = value {
                self.expect_numbers(data)?;
            }
        }
        match (left, right) {
            (Value::Data(left), Value::Data(right)) => Ok(self.binary_data(kind, left, right, &dims)?.into()),
            (Value::Data(data), other) => Ok(self.binary_weight(kind, data, other, &dims)?.into()),
            (other, Value::Data(data)) => match kind {
                BinaryKind::Add | BinaryKind::Multiply => {
                    Ok(self.binary_weight(kind, data, other, &dims)?.into())
                }
                BinaryKind::Subtract => {
                    let negative = self.op(Unary { kind: UnaryKind::Negate }, &[data.value])?;
                    let negative = data.replaced(negative);
                    Ok(self.binary_weight(BinaryKind::Add, &negative, other, &dims)?.into())
                }
                _ => {
                    let data = self.expand_data(data, &dims)?;
                    let lifted = self.lift_like(other, &data)?;
                    let [lifted, data] = self.pair(&lifted, &data)?;
                    let value = self.binary_op(kind, lifted.value, data.value)?;
                    Ok(data.replaced(value).meaning(Meaning::Float).into())
                }
            },
            _ => {
                let sizes = fixed(&dims).unwrap_or_default();
                let left = self.expand(left, &dims)?;
                let right = self.expand(right, &dims)?;
                let (left, right) = (self.weight(&left)?, self.weight(&right)?);
                let value = self.binary_op(kind, left.value, right.value)?;
                Ok(Weight::new(value, sizes).into())
            }
        }
    }

    /// Two values of the same axes in the same form.
    pub(crate) fn pair(&mut self, left: &Data, right: &Data) -> Result<[Data; 2], Reason> {
        let both = self.alike(&[left.clone(), right.clone()])?;
        let [left, right] = <[Data; 2]>::try_from(both).map_err(|_| Reason::Missing { index: 1 })?;
        Ok([left, right])
    }

    fn binary_data(
        &mut self,
        kind: BinaryKind,
        left: &Data,
        right: &Data,
        dims: &[Dim],
    ) -> Result<Data, Reason> {
        if kind == BinaryKind::Multiply {
            for (value, factors) in [(left, right), (right, left)] {
                if let Some(scaled) = self.scaled_by_channel(value, factors)? {
                    return Ok(scaled);
                }
            }
        }
        let left = self.expand_data(left, dims)?;
        let right = self.expand_data(right, dims)?;
        let [left, right] = self.pair(&left, &right)?;
        let value = self.binary_op(kind, left.value, right.value)?;
        Ok(left.replaced(value).meaning(Meaning::Float))
    }

    /// Images times one factor for each channel of each sample, as in squeeze-and-excitation.
    fn scaled_by_channel(&mut self, value: &Data, factors: &Data) -> Result<Option<Data>, Reason> {
        let (own, other) = (&value.dims, &factors.dims);
        let is_one = |dim: &Dim| dim.fixed() == Some(1);
        let is_channel = own.len() > 2
            && own.len() == other.len()
            && own[..2] == other[..2]
            && other[2..].iter().all(is_one)
            && !own[2..].iter().all(is_one)
            && fixed(&own[1..]).is_some();
        if !is_channel {
            return Ok(None);
        }
        let (value, factors) = (self.folded(value)?, self.folded(factors)?);
        if value.batch != Batch::Axis(0) || factors.batch != Batch::Axis(0) {
            return Ok(None);
        }
        let flat = self.shaped(factors.value, factors.shape_of(&factors.dims[..2]))?;
        let scaled = self.op(Scale { axis: 0, count: 2 }, &[value.value, flat])?;
        Ok(Some(value.replaced(scaled).meaning(Meaning::Float)))
    }

    /// A function of data and a parameter or constant.
    fn binary_weight(
        &mut self,
        kind: BinaryKind,
        data: &Data,
        other: &Value,
        dims: &[Dim],
    ) -> Result<Data, Reason> {
        let weight = self.weight(other)?;
        if weight.dims.iter().all(|&size| size == 1) && data.dims == dims {
            let scalar = self.shaped(weight.value, Shape::scalar())?;
            let value = self.binary_op(kind, data.value, scalar)?;
            return Ok(data.replaced(value).meaning(Meaning::Float));
        }
        let data = self.expand_data(data, dims)?;
        let (data, run) = self.run(&data, weight)?;
        let value = match kind {
            BinaryKind::Add => self.biased(&data, &run)?,
            BinaryKind::Subtract => {
                let value = self.op(Unary { kind: UnaryKind::Negate }, &[run.weight.value])?;
                let weight = Weight::new(value, run.weight.dims);
                self.biased(&data, &Run { weight, ..run })?
            }
            BinaryKind::Multiply => self.scaled(data.value, &data, &run)?,
            _ => {
                let lifted = self.repeated(&data, &run)?;
                self.binary_op(kind, data.value, lifted)?
            }
        };
        Ok(data.replaced(value).meaning(Meaning::Float))
    }

    /// The axes along which a parameter varies, as neighbouring axes of the graph, and the data in a form where none of
    /// them is the batch.
    fn run(&mut self, data: &Data, weight: Weight) -> Result<(Data, Run), Reason> {
        let rank = data.dims.len();
        let missing = rank - weight.dims.len();
        let own: Vec<usize> = std::iter::repeat_n(1, missing).chain(weight.dims.iter().copied()).collect();
        let varying: Vec<usize> = (0..rank).filter(|&axis| own[axis] > 1).collect();
        let data = self.with_axes(data, &varying)?;
        // In the order of the graph.
        let mut axes: Vec<(usize, usize)> = varying.iter().map(|&axis| (data.axis(axis), axis)).collect();
        axes.sort_unstable();
        let (Some(&(first, _)), Some(&(last, _))) = (axes.first(), axes.last()) else {
            // A single number for all: an axis of size 1 would do, but any axis fits.
            let first = data.shape().rank().saturating_sub(1);
            let size = data.shape().dims()[first].fixed();
            let Some(size) = size.filter(|_| first > 0) else {
                return unsupported("it has no axis to repeat along");
            };
            let value = self.shaped(weight.value, Shape::scalar())?;
            let expand = windlass_compiler::ops::reduce::Expand {
                shape: Shape::fixed(&[size]),
                axis: 0,
                count: 1,
                divided: false,
            };
            let value = self.op(expand, &[value])?;
            return Ok((data, Run { axis: first, weight: Weight::new(value, vec![size]) }));
        };
        // Between them, the parameter is repeated.
        let shape = data.shape();
        let Some(sizes) = fixed(&shape.dims()[first..=last]) else {
            return unsupported("a parameter cannot be repeated along an open axis between two of its own");
        };
        let mut target = vec![Dim::Fixed(1); last + 1 - first];
        for &(place, axis) in &axes {
            target[place - first] = Dim::Fixed(own[axis]);
        }
        let weight = self.reshape(&weight.into(), &target)?;
        let whole: Vec<Dim> = sizes.iter().map(|&size| Dim::Fixed(size)).collect();
        let weight = self.expand(&weight, &whole)?;
        let weight = self.weight(&weight)?;
        Ok((data, Run { axis: first, weight }))
    }

    /// A shape with three axes: the batch and those before the run, the run, and those behind it.
    fn around(data: &Data, run: &Run) -> Result<Shape, Reason> {
        let shape = data.shape();
        let end = run.axis + run.weight.dims.len();
        let product = |dims: &[Dim]| Dim::from(Shape::new(dims.to_vec()).count());
        let dims = shape.dims();
        let mut axes = vec![product(&dims[..run.axis]), product(&dims[run.axis..end])];
        if end < dims.len() {
            axes.push(product(&dims[end..]));
        }
        Ok(Shape::new(axes))
    }

    fn flat(&mut self, run: &Run) -> Result<ValueId, Reason> {
        let count = run.weight.dims.iter().product();
        self.shaped(run.weight.value, Shape::fixed(&[count]))
    }

    fn biased(&mut self, data: &Data, run: &Run) -> Result<ValueId, Reason> {
        let weight = self.flat(run)?;
        if run.axis == 1 && run.weight.dims.len() == 1 {
            return self.op(Bias {}, &[data.value, weight]);
        }
        let x = self.shaped(data.value, Self::around(data, run)?)?;
        let y = self.op(Bias {}, &[x, weight])?;
        self.shaped(y, data.shape())
    }

    fn scaled(&mut self, value: ValueId, data: &Data, run: &Run) -> Result<ValueId, Reason> {
        let weight = self.flat(run)?;
        if run.axis == 1 && run.weight.dims.len() == 1 {
            return self.op(Scale::along(1), &[value, weight]);
        }
        let x = self.shaped(value, Self::around(data, run)?)?;
        let y = self.op(Scale::along(1), &[x, weight])?;
        self.shaped(y, data.shape())
    }

    /// The parameter repeated to the shape of the data.
    fn repeated(&mut self, data: &Data, run: &Run) -> Result<ValueId, Reason> {
        let ones = self.op(Fill { shape: data.shape(), value: 1.0 }, &[])?;
        self.scaled(ones, data, run)
    }

    /// A value repeated to the axes of data, in the same form.
    pub(crate) fn lift_like(&mut self, value: &Value, data: &Data) -> Result<Data, Reason> {
        check_broadcast(&value.dims(), &data.dims)?;
        match value {
            Value::Data(value) => self.expand_data(value, &data.dims),
            Value::Known(known) if known.name.is_none() && known.len() == 1 => {
                let Some([number]) = known.to_floats().map(|it| [it[0]]) else {
                    return unsupported("it computes with a size that is open");
                };
                let value = self.number_like(data, number)?;
                Ok(data.replaced(value).meaning(Meaning::Float))
            }
            other => {
                let weight = self.weight(other)?;
                if weight.dims.iter().all(|&size| size == 1) {
                    let ones = self.op(Fill { shape: data.shape(), value: 1.0 }, &[])?;
                    let scalar = self.shaped(weight.value, Shape::scalar())?;
                    let value = self.binary_op(BinaryKind::Multiply, ones, scalar)?;
                    return Ok(data.replaced(value).meaning(Meaning::Float));
                }
                let (data, run) = self.run(data, weight)?;
                let value = self.repeated(&data, &run)?;
                Ok(data.replaced(value).meaning(Meaning::Float))
            }
        }
    }
}
