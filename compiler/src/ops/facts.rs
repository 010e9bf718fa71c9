//! The properties of operators that passes, summaries, plans, the interpreter and the fuzzer use. No other module lists
//! operators.

use std::borrow::Cow;

use super::Op;
use super::epilogue::EpilogueStep;
use super::source::Source;
use super::window::Window;
use crate::shape::Sizes;

/// Properties that hold for every use of an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts<'a> {
    /// What the operator does.
    pub role: Role<'a>,
    /// Which elements an element of its results depends on.
    pub reach: Reach<'a>,
    /// What the integers of its last operand mean, if their range is limited.
    pub indices: Option<Indices>,
}

/// What an operator does, in the categories that other modules distinguish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role<'a> {
    /// A source: no operator computes it.
    Source(Source<'a>),
    /// Its result is its operand, until training replaces it with another operator.
    Identity,
    /// Sums of products of its first two operands.
    Product(Product),
    /// Each element of the first result is a function of the operands' elements at the same position.
    Elementwise(Elementwise),
    /// It moves elements without changing them.
    Move(Move),
    /// The gradient of a loss: the first gradient of a training step.
    LossGradient,
    /// Any other operator.
    Other,
}

/// The operators that are products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Each row of the weight, the second operand, produces one channel of the result.
    ByRows,
    /// Any other product.
    Other,
}

/// The operators that compute element by element. The first operand has the type of the first result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elementwise {
    /// The equivalent epilogue step, if there is one.
    pub step: Option<EpilogueStep>,
    /// The neutral element: if all elements of the second operand equal it, the result has the bits of the first
    /// operand.
    pub neutral: Option<f32>,
    /// Whether positions do not matter, so that the elements may have any other shape.
    pub in_any_shape: bool,
}

/// The operators that move elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Keeps the elements in order: the result may share the operand's memory.
    Reshape,
    /// Concatenates the operands along an axis: they may be parts of the result's memory.
    Join {
        /// The axis; the batch axis is axis 0.
        axis: usize,
    },
    /// Takes some indices of an axis of the operand: the result may be a part of the operand's memory.
    Part {
        /// The axis; the batch axis is axis 0.
        axis: usize,
    },
    /// Copies elements to separate memory.
    Copy,
}

/// Which elements an element of a result depends on; receptive fields are computed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// Elements at the same position, in any channel. The statistics of a batch do not count.
    Place,
    /// Elements of a window of the first operand, and at the same position of the others.
    Window(&'a Window),
    /// Any element.
    Everywhere,
}

/// How an operator's results depend on the rows of its batched operands. Scans move operators out of their bodies
/// accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Each row of each result depends only on the same row of the batched operands, in the same way for every row.
    Apart,
    /// Its only result is a sum over all rows of terms that depend on one row each.
    Summed,
    /// Any other dependence.
    Mixed,
}

/// What the integers of an operator's last operand mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indices {
    /// Channels of the operand before it.
    Channels,
    /// Indices below this number.
    Below(usize),
    /// Numbers of elements along the last axis of the first operand.
    Lengths,
}

/// The parts of an operator that generic passes change. Operators without such parts use `never_rewritten!`, those that
/// only have an epilogue `takes_epilogue!`.
pub trait Rewrite: Clone {
    /// The fused steps; `None` for an operator that takes none.
    fn epilogue(&self) -> Option<&[EpilogueStep]>;

    /// The fused steps, mutable.
    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>>;

    /// The operator with its open sizes replaced by their values in a run.
    fn at(&self, sizes: &Sizes) -> Cow<'_, Self>;

    /// The operator that replaces it in training, if there is one. `stream` is different for each node that draws
    /// random numbers.
    fn in_training(&self, stream: u32) -> Option<InTraining>;
}

/// The operator that replaces another in training.
#[derive(Clone, Debug, PartialEq)]
pub struct InTraining {
    /// The operator. Its first operands and results are those of the operator that it replaces.
    pub op: Op,
    /// Whether it draws random numbers; its last operand is then the seed.
    pub is_random: bool,
    /// Operands, and the results that are their new values.
    pub updates: &'static [(usize, usize)],
}

macro_rules! never_rewritten {
    ($($op:ident),* $(,)?) => {$(
        impl $crate::ops::Rewrite for $op {
            fn epilogue(&self) -> Option<&[$crate::ops::epilogue::EpilogueStep]> {
                None
            }

            fn epilogue_mut(&mut self) -> Option<&mut Vec<$crate::ops::epilogue::EpilogueStep>> {
                None
            }

            fn at(&self, _: &$crate::shape::Sizes) -> std::borrow::Cow<'_, Self> {
                std::borrow::Cow::Borrowed(self)
            }

            fn in_training(&self, _: u32) -> Option<$crate::ops::InTraining> {
                None
            }
        }
    )*};
}

macro_rules! takes_epilogue {
    ($($op:ident),* $(,)?) => {$(
        impl $crate::ops::Rewrite for $op {
            fn epilogue(&self) -> Option<&[$crate::ops::epilogue::EpilogueStep]> {
                Some(&self.epilogue)
            }

            fn epilogue_mut(&mut self) -> Option<&mut Vec<$crate::ops::epilogue::EpilogueStep>> {
                Some(&mut self.epilogue)
            }

            fn at(&self, _: &$crate::shape::Sizes) -> std::borrow::Cow<'_, Self> {
                std::borrow::Cow::Borrowed(self)
            }

            fn in_training(&self, _: u32) -> Option<$crate::ops::InTraining> {
                None
            }
        }
    )*};
}

pub(crate) use {never_rewritten, takes_epilogue};

#[cfg(test)]
mod tests {
    use super::{Elementwise, Role};
    use crate::interp::{Array, Evaluate};
    use crate::ops::elementwise::{Activation, Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
    use crate::ops::epilogue::EpilogueStep;
    use crate::ops::{Op, Operator};

    /// Every operator for which some kind is an epilogue step or has a neutral operand, with the sizes of its second
    /// operand.
    fn elementwise() -> impl Iterator<Item = (Op, Elementwise, Vec<usize>)> {
        let unary = UnaryKind::ALL.into_iter().map(|kind| (Unary { kind }.into(), vec![]));
        let binary = BinaryKind::ALL.into_iter().map(|kind| (Binary { kind }.into(), vec![2, 3, 2]));
        let by_channel = [(Bias {}.into(), vec![3]), (Scale::along(1).into(), vec![3])];
        unary.chain(binary).chain(by_channel).map(|(op, sizes): (Op, _)| {
            let Role::Elementwise(facts) = op.facts().role else { panic!("{op:?}") };
            (op, facts, sizes)
        })
    }

    /// Special values and ordinary ones.
    fn numbers() -> Array<f32> {
        let numbers = [0.0, -0.0, 1.5, -0.75, 1e-45, -1e-38, f32::MAX, f32::MIN];
        let numbers = numbers.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY, 3.0, -2.0]);
        Array::new([2, 3, 2], numbers.collect())
    }

    fn bits(array: &Array<f32>) -> Vec<u32> {
        array.real().iter().map(|number| number.to_bits()).collect()
    }

    #[test]
    fn steps_of_epilogues_do_what_their_operators_do() {
        let mut found = 0;
        for (op, facts, sizes) in elementwise() {
            let Some(step) = facts.step else { continue };
            let x = numbers();
            let other = Array::new(sizes.clone(), vec![-0.5; sizes.iter().product()]);
            let further: &[&Array<f32>] = if step.takes_operand() { &[&other] } else { &[] };
            let operands = [&[&x], further].concat();
            let expected = op.evaluate(&operands, std::slice::from_ref(&x.sizes)).remove(0);
            let got = EpilogueStep::apply_all(&[step], x.clone(), further);
            assert_eq!(bits(&got), bits(&expected), "{op:?}");
            found += 1;
        }
        assert_eq!(found, 5 + Activation::ALL.len());
    }

    #[test]
    fn neutral_operands_leave_every_bit() {
        let mut found = 0;
        for (op, facts, sizes) in elementwise() {
            let Some(neutral) = facts.neutral else { continue };
            let x = numbers();
            let other = Array::new(sizes.clone(), vec![neutral; sizes.iter().product()]);
            let got = op.evaluate(&[&x, &other], std::slice::from_ref(&x.sizes)).remove(0);
            assert_eq!(bits(&got), bits(&x), "{op:?}");
            found += 1;
        }
        assert_eq!(found, 6);
    }
}
