//! What operators say about themselves to those who do not know them: passes, summaries, plans, the interpreter, the fuzzer.
//! Nobody else keeps lists of operators.

use std::borrow::Cow;

use super::Op;
use super::epilogue::EpilogueStep;
use super::source::Source;
use super::window::Window;
use crate::shape::Sizes;

/// What holds for every use of an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts<'a> {
    /// What it does.
    pub role: Role<'a>,
    /// Where the elements lie that one element of its results depends on.
    pub reach: Reach<'a>,
    /// What the integers of its last operand must be below, where they count something.
    pub indices: Option<Indices>,
}

/// What an operator does, as far as others can make use of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role<'a> {
    /// Nothing computes it.
    Source(Source<'a>),
    /// Its result is its operand, until training puts another operator in its place.
    Identity,
    /// Sums of products of its first two operands.
    Product(Product),
    /// Each element of the first result is a function of the elements at its place.
    Elementwise(Elementwise),
    /// Elements stay as they are, and go elsewhere.
    Move(Move),
    /// The gradient of a loss: the first gradient of a training step.
    LossGradient,
    /// None of these.
    Other,
}

/// The operators that are products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Each row of the weight, the second operand, makes a channel of the result.
    ByRows,
    /// Any other product.
    Other,
}

/// The operators that compute element by element. The first operand has the type of the first result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elementwise {
    /// The step of an epilogue that does the same.
    pub step: Option<EpilogueStep>,
    /// The number that leaves the first operand as it is, to the last bit, where all elements of the second are it.
    pub neutral: Option<f32>,
    /// Whether places do not matter: the elements may be given in any other shape.
    pub in_any_shape: bool,
}

/// The operators that move elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The elements of the operand in their order: the result may share its memory.
    Reshape,
    /// The operands one after the other along an axis: they may be parts of the result's memory.
    Join {
        /// The axis, the batch axis counted as 0.
        axis: usize,
    },
    /// Indices of an axis of the operand, of whose memory the result may be a part.
    Part {
        /// The axis, the batch axis counted as 0.
        axis: usize,
    },
    /// Elements in memory of their own.
    Copy,
}

/// Where the elements lie that one element of a result depends on: of receptive fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// At the same place, in any channel. What the statistics of a batch are made of is not counted.
    Place,
    /// In a window of the first operand, and at the same place of the others.
    Window(&'a Window),
    /// Anywhere.
    Everywhere,
}

/// What the integers of an operator's last operand count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indices {
    /// Channels of the operand before it.
    Channels,
    /// So many things.
    Below(usize),
}

/// The parts of an operator that are changed by those who do not know it. Operators without any say `never_rewritten!`, those
/// with an epilogue alone `takes_epilogue!`.
pub trait Rewrite: Clone {
    /// The steps fused behind it; `None` for an operator that takes none.
    fn epilogue(&self) -> Option<&[EpilogueStep]>;

    /// The same, to be changed.
    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>>;

    /// The operator in a run: open sizes among its attributes are the numbers they have there.
    fn at(&self, sizes: &Sizes) -> Cow<'_, Self>;

    /// What takes its place in training, if anything does. `stream` is another number for each node that draws random ones.
    fn in_training(&self, stream: u32) -> Option<InTraining>;
}

/// What takes the place of an operator in training.
#[derive(Clone, Debug, PartialEq)]
pub struct InTraining {
    /// The operator. Its first operands and results are those of the one it replaces.
    pub op: Op,
    /// Whether it draws random numbers: its last operand is then the seed.
    pub is_random: bool,
    /// Operands and the results that are their new values.
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
    use crate::ops::elementwise::{Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
    use crate::ops::epilogue::EpilogueStep;
    use crate::ops::{Op, Operator};

    /// Every operator that is a step of an epilogue or has a neutral operand, for some kind at least, and the sizes of its
    /// second operand.
    fn elementwise() -> impl Iterator<Item = (Op, Elementwise, Vec<usize>)> {
        let unary = UnaryKind::ALL.into_iter().map(|kind| (Unary { kind }.into(), vec![]));
        let binary = BinaryKind::ALL.into_iter().map(|kind| (Binary { kind }.into(), vec![2, 3, 2]));
        let by_channel = [(Bias {}.into(), vec![3]), (Scale { axis: 1 }.into(), vec![3])];
        unary.chain(binary).chain(by_channel).map(|(op, sizes): (Op, _)| {
            let Role::Elementwise(facts) = op.facts().role else { panic!("{op:?}") };
            (op, facts, sizes)
        })
    }

    /// Numbers at the edge, and others.
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
        assert_eq!(found, 5);
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
