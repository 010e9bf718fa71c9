//! Evaluates the Map leaf, lane by lane.

use super::memory::{EvaluateError, moved};
use super::{Evaluator, number};
use crate::functions::UnaryKind;
use crate::kernel::{Element, Expr, ExprId, Extent, Fold, Load, Map, Mode, Reducer};

/// The value of an expression.
#[derive(Clone, Copy, Debug)]
enum Value {
    Float(f32),
    Integer(i32),
    Mask(bool),
}

/// The values of the expressions so far. The verifier has checked their kinds.
#[derive(Debug, Default)]
struct Values(Vec<Value>);

impl Values {
    fn float(&self, id: ExprId) -> f32 {
        let Value::Float(value) = self.0[id.0] else { unreachable!("verified: a float") };
        value
    }

    fn integer(&self, id: ExprId) -> i32 {
        let Value::Integer(value) = self.0[id.0] else { unreachable!("verified: an integer") };
        value
    }

    fn mask(&self, id: ExprId) -> bool {
        let Value::Mask(value) = self.0[id.0] else { unreachable!("verified: a mask") };
        value
    }
}

/// The state of a reducer.
#[derive(Clone, Copy, Debug)]
enum Accumulator {
    Sum(f64),
    Max { best: f32, argmax: i32 },
}

impl Accumulator {
    fn of(reducer: &Reducer) -> Self {
        match reducer {
            Reducer::Sum(_) => Accumulator::Sum(0.0),
            Reducer::Max(_) | Reducer::MaxWithArgmax(_) => {
                Accumulator::Max { best: f32::NEG_INFINITY, argmax: 0 }
            }
        }
    }

    fn add(&mut self, value: f32, at: i32) {
        match self {
            Accumulator::Sum(sum) => *sum += f64::from(value),
            Accumulator::Max { best, argmax } if beats(value, *best) => (*best, *argmax) = (value, at),
            Accumulator::Max { .. } => {}
        }
    }

    fn value(self) -> f32 {
        match self {
            Accumulator::Sum(sum) => sum as f32,
            Accumulator::Max { best, .. } => best,
        }
    }

    fn argmax(self) -> i32 {
        match self {
            Accumulator::Sum(_) => 0,
            Accumulator::Max { argmax, .. } => argmax,
        }
    }
}

impl Evaluator<'_, '_> {
    pub(super) fn map(&mut self, map: &Map) -> Result<(), EvaluateError> {
        let lanes = self.extent(map.lanes);
        let window: Vec<usize> = map.window.iter().map(|&extent| self.extent(extent)).collect();
        let new = || map.fold.reducers().iter().map(Accumulator::of).collect::<Vec<Accumulator>>();
        match &map.fold {
            Fold::None | Fold::Window(_) => {
                for lane in 0..lanes {
                    let mut accumulators = new();
                    if map.fold != Fold::None {
                        each_step(&window, |step, at| {
                            self.accumulate(map, (lane, step), at, &mut accumulators)
                        })?;
                    }
                    self.finish(map, lane, &accumulators)?;
                }
                Ok(())
            }
            Fold::Lanes(_) => {
                let mut accumulators = new();
                each_step(&window, |step, at| {
                    (0..lanes).try_for_each(|lane| self.accumulate(map, (lane, step), at, &mut accumulators))
                })?;
                self.finish(map, 0, &accumulators)
            }
        }
    }

    /// Evaluates the reduced expressions at a lane and a window step.
    fn accumulate(
        &self,
        map: &Map,
        (lane, step): (usize, &[usize]),
        at: i32,
        accumulators: &mut [Accumulator],
    ) -> Result<(), EvaluateError> {
        let mut values = Values::default();
        for expr in &map.exprs[..map.finish] {
            let value = self.expr(map, expr, (lane, step, at), &values, &[])?;
            values.0.push(value);
        }
        for (reducer, accumulator) in map.fold.reducers().iter().zip(accumulators) {
            accumulator.add(values.float(reducer.value()), at);
        }
        Ok(())
    }

    /// Evaluates the stored expressions and stores them.
    fn finish(&mut self, map: &Map, lane: usize, accumulators: &[Accumulator]) -> Result<(), EvaluateError> {
        let first = if map.fold == Fold::None { 0 } else { map.finish };
        // Expressions after a reduction do not use those before it.
        let mut values = Values(vec![Value::Integer(0); first]);
        for expr in &map.exprs[first..] {
            let value = self.expr(map, expr, (lane, &[], 0), &values, accumulators)?;
            values.0.push(value);
        }
        for store in &map.stores {
            let index = moved(self.affine(&store.address.offset), lane, store.lane);
            let element = (&store.address, index);
            let word = match (store.element, store.mode) {
                (Element::F32, Mode::Write) => values.float(store.value).to_bits(),
                (Element::F32, Mode::Accumulate) => {
                    let old = f32::from_bits(self.memory.read(self.kernel, element, store.element)?);
                    (old + values.float(store.value)).to_bits()
                }
                (Element::I32 | Element::U8, _) => values.integer(store.value).cast_unsigned(),
            };
            self.memory.write(self.kernel, element, store.element, word)?;
        }
        Ok(())
    }

    fn load(&self, load: &Load, lane: usize, step: &[usize]) -> Result<Value, EvaluateError> {
        let first = moved(self.affine(&load.address.offset), lane / load.repeat, load.lane);
        let index = step
            .iter()
            .zip(&load.window)
            .fold(first, |index, (&step, &distance)| moved(index, step, distance));
        let word = self.memory.read(self.kernel, (&load.address, index), load.element)?;
        Ok(match load.element {
            Element::F32 => Value::Float(f32::from_bits(word)),
            Element::I32 | Element::U8 => Value::Integer(word.cast_signed()),
        })
    }

    fn expr(
        &self,
        map: &Map,
        expr: &Expr,
        (lane, step, at): (usize, &[usize], i32),
        values: &Values,
        reduced: &[Accumulator],
    ) -> Result<Value, EvaluateError> {
        let (float, integer) = (|id: &ExprId| values.float(*id), |id: &ExprId| values.integer(*id));
        Ok(match expr {
            Expr::Load(index) => self.load(&map.loads[*index], lane, step)?,
            Expr::Constant(value) => Value::Float(*value),
            Expr::Integer(value) => Value::Integer(*value),
            // Integers keep their low bits.
            Expr::Index { base, lane: distance } => {
                Value::Integer(moved(self.affine(base), lane, *distance) as i32)
            }
            Expr::Position(value) => Value::Integer(self.affine(value) as i32),
            Expr::Phase(period) => Value::Integer(number(lane % period) as i32),
            Expr::WindowIndex => Value::Integer(at),
            Expr::Size(size, times) => Value::Float(self.extent(Extent::Open(*size, *times)) as f32),
            Expr::Reduced(index) => Value::Float(reduced[*index].value()),
            Expr::Argmax(index) => Value::Integer(reduced[*index].argmax()),
            Expr::Unary(kind, x) => Value::Float(unary(*kind, float(x))),
            Expr::Slope(activation, x) => Value::Float(activation.slope(f64::from(float(x))) as f32),
            Expr::Add(a, b) => Value::Float(float(a) + float(b)),
            Expr::Subtract(a, b) => Value::Float(float(a) - float(b)),
            Expr::Multiply(a, b) => Value::Float(float(a) * float(b)),
            Expr::MultiplyAdd(a, b, c) => Value::Float(float(a).mul_add(float(b), float(c))),
            Expr::Divide(a, b) => Value::Float(float(a) / float(b)),
            Expr::Largest(a, b) => Value::Float(largest(float(a), float(b))),
            Expr::Less(a, b) => Value::Mask(float(a) < float(b)),
            Expr::AtMost(a, b) => Value::Mask(float(a) <= float(b)),
            Expr::SameInteger(a, b) => Value::Mask(integer(a) == integer(b)),
            Expr::BelowUnsigned(a, b) => Value::Mask(integer(a).cast_unsigned() < integer(b).cast_unsigned()),
            Expr::Select(mask, a, b) => values.0[if values.mask(*mask) { a.0 } else { b.0 }],
            Expr::AddInteger(a, b) => Value::Integer(integer(a).wrapping_add(integer(b))),
            Expr::And(a, b) => Value::Integer(integer(a) & integer(b)),
            Expr::Xor(a, b) => Value::Integer(integer(a) ^ integer(b)),
            Expr::RotateLeft(a, bits) => Value::Integer(integer(a).rotate_left(*bits)),
        })
    }
}

/// Calls `body` with every step of a window and its number, in loop order.
fn each_step(
    window: &[usize],
    mut body: impl FnMut(&[usize], i32) -> Result<(), EvaluateError>,
) -> Result<(), EvaluateError> {
    if window.contains(&0) {
        return Ok(());
    }
    let mut step = vec![0; window.len()];
    for at in 0i32.. {
        body(&step, at)?;
        let Some(next) = (0..window.len()).rev().find(|&depth| step[depth] + 1 < window[depth]) else {
            break;
        };
        step[next] += 1;
        step[next + 1..].fill(0);
    }
    Ok(())
}

/// Whether a value replaces the current maximum: it is larger, or NaN.
fn beats(value: f32, best: f32) -> bool {
    best < value || value.is_nan()
}

/// The larger of two, or the first if they are equal. If one is NaN, the result is that NaN; if both are, the second.
pub(super) fn largest(best: f32, value: f32) -> f32 {
    if beats(value, best) { value } else { best }
}

/// A unary function.
pub(super) fn unary(kind: UnaryKind, x: f32) -> f32 {
    let wide = f64::from(x);
    match kind {
        UnaryKind::Relu if x < 0.0 => 0.0,
        UnaryKind::Relu => x,
        UnaryKind::Sigmoid => (1.0 / (1.0 + (-wide).exp())) as f32,
        UnaryKind::Tanh => wide.tanh() as f32,
        UnaryKind::Exp => wide.exp() as f32,
        UnaryKind::Log => wide.ln() as f32,
        UnaryKind::Sqrt => x.sqrt(),
        UnaryKind::Rsqrt => 1.0 / x.sqrt(),
        UnaryKind::Negate => -x,
        UnaryKind::Square => x * x,
        UnaryKind::Activation(activation) => activation.value(wide) as f32,
    }
}
