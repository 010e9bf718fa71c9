//! Connectionist temporal classification (Graves et al. 2006): the likelihood of a sequence of labels by probabilities of
//! classes at each step, summed over all alignments.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{DType, Dim, Shape, Type};

/// The negative log-likelihood of each item's labels, and its gradient with respect to the logarithms.
///
/// Operands: `logarithms` of the probabilities of classes `[N, T, C]`; `labels` (`i32[N, S]`, padded with any integers);
/// the number of labels of each item (`i32[N]`); and its number of steps (`i32[N]`), from which on logarithms do not
/// count. Results: the losses `[N]`, and the gradient of each to its logarithms `[N, T, C]`, which is 0 beyond an item's
/// steps. An alignment chooses a class for each step; without repeats, and then without blanks, these are the labels.
///
/// A loss is infinite if no alignment has a probability above 0: with fewer steps than labels and repeats of a label, or
/// more labels than `S`. Its gradient is then 0. A label that is no class has the probability 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ctc {
    /// The class of the blank.
    #[serde(default)]
    pub blank: usize,
    /// Whether losses are divided by the number of labels, if there are any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_label: bool,
    /// Whether infinite losses are 0 instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_infinity: bool,
}

never_rewritten!(Ctc);

impl Operator for Ctc {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 4)?;
        let (logarithms, labels) = (&operands[0], &operands[1]);
        expect_float("logarithms", logarithms)?;
        let rank = |expected: &str, got: &Type| {
            Err(ShapeError::Rank { expected: expected.to_owned(), got: got.shape.clone() })
        };
        let items = match logarithms.shape.dims() {
            [items, _, Dim::Fixed(classes)] if logarithms.shape.is_batched() => {
                if self.blank >= *classes {
                    return rank(&format!("a sequence of more than {} classes", self.blank), logarithms);
                }
                items
            }
            _ => return rank("a sequence [steps, classes]", logarithms),
        };
        if labels.dtype != DType::I32 {
            let expected = "32-bit integers".to_owned();
            return Err(ShapeError::Operand { operand: "labels", expected, got: labels.clone() });
        }
        if labels.shape.rank() != 2 || labels.shape.dims()[0] != *items {
            return rank("a sequence of labels for each item", labels);
        }
        let counts = Type::i32(Shape::new([items.clone()]));
        expect_type("numbers of labels", &operands[2], &counts)?;
        expect_type("numbers of steps", &operands[3], &counts)?;
        Ok(vec![Type::f32(Shape::new([items.clone()])), logarithms.clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        // Both passes have a sum of exponentials for each label, and for each blank between labels, in each step.
        let steps = Type::f32(Shape::new(&operands[0].shape.dims()[..2]));
        let labels = operands[1].shape.dims()[1].polynomial();
        Cost { flops: Cost::elementwise(&steps, 200).flops.times(&labels) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ctc;
    use crate::ops::Operator;
    use crate::shape::Type;

    fn infer(blank: usize, operands: [&str; 4]) -> Result<Vec<String>, String> {
        let operands: Vec<Type> = operands.iter().map(|text| text.parse().unwrap()).collect();
        let op = Ctc { blank, per_label: false, zero_infinity: false };
        let results = op.infer(&operands).map_err(|error| error.to_string())?;
        Ok(results.iter().map(Type::to_string).collect())
    }

    #[test]
    fn losses_have_an_item_and_gradients_have_all_logarithms() {
        for (steps, labels) in [("7", "3"), ("T", "3"), ("7", "S"), ("T", "S"), ("T", "T")] {
            let (x, labels) = (format!("f32[N, {steps}, 5]"), format!("i32[N, {labels}]"));
            let results = infer(4, [&x, &labels, "i32[N]", "i32[N]"]).unwrap();
            assert_eq!(results, ["f32[N]".to_owned(), x]);
        }
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |operands: [&str; 4]| infer(4, operands).unwrap_err();
        assert_eq!(
            refused(["f32[N, 5]", "i32[N, 3]", "i32[N]", "i32[N]"]),
            "needs a sequence [steps, classes] but receives [5]"
        );
        assert_eq!(
            refused(["f32[N, T, 4]", "i32[N, 3]", "i32[N]", "i32[N]"]),
            "needs a sequence of more than 4 classes but receives [T, 4]"
        );
        assert_eq!(
            refused(["f32[N, T, 5]", "f32[N, 3]", "i32[N]", "i32[N]"]),
            "needs 32-bit integers for its labels but receives f32[N, 3]"
        );
        assert_eq!(
            refused(["f32[N, T, 5]", "i32[N]", "i32[N]", "i32[N]"]),
            "needs a sequence of labels for each item but receives []"
        );
        assert_eq!(
            refused(["f32[N, T, 5]", "i32[N, 3]", "i32[N]", "i32[N, 1]"]),
            "needs i32[N] for its numbers of steps but receives i32[N, 1]"
        );
    }
}
