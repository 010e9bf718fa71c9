//! The targets of a CTC loss: sequences of labels, with the numbers of labels and of steps of each sample.

use std::error::Error;
use std::ops::RangeInclusive;

use fastrand::Rng;
use windlass::{Dim, Graph, LabelSequences, Sizes, Symbol, Target};
use windlass_compiler::ops::Op;

use crate::inputs::{Inputs, Values};

/// The CTC loss of a graph.
pub(crate) struct Ctc<'g> {
    /// The names of the inputs: labels `[N, S]`, and the numbers of labels and steps `[N]`.
    inputs: [&'g str; 3],
    /// The open size S.
    most: Symbol,
    steps: Dim,
    classes: usize,
    blank: usize,
}

impl<'g> Ctc<'g> {
    /// That of a graph, if its loss is one.
    pub(crate) fn of(graph: &'g Graph) -> Option<Self> {
        let (node, blank) = graph.nodes().iter().find_map(|node| match &node.op {
            Op::Ctc(ctc) => Some((node, ctc.blank)),
            _ => None,
        })?;
        let &[logarithms, labels, label_lengths, step_lengths] = &node.operands[..] else { return None };
        let name = |value| graph.inputs().find(|(input, _)| *input == value).map(|(_, input)| &*input.name);
        let [_, steps, classes] = graph.ty(logarithms).shape.dims() else { return None };
        Some(Ctc {
            inputs: [name(labels)?, name(label_lengths)?, name(step_lengths)?],
            most: graph.ty(labels).shape.dims().get(1)?.polynomial().as_symbol()?,
            steps: steps.clone(),
            classes: classes.fixed()?,
            blank,
        })
    }

    /// Sizes of a run with that of sequences that are drawn: even those of one repeated label can be aligned.
    pub(crate) fn sizes(&self, sizes: &Sizes) -> Sizes {
        sizes.clone().with(self.most, self.steps.at(sizes).div_ceil(2))
    }

    /// The least and greatest element of an input, if it is one of the loss.
    pub(crate) fn limits(&self, input: &str, sizes: &Sizes) -> Option<RangeInclusive<i32>> {
        let most = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        match self.inputs.iter().position(|name| *name == input)? {
            0 => Some(0..=most(self.classes.saturating_sub(1))),
            1 => Some(0..=most(sizes.get(self.most).unwrap_or(0))),
            _ => Some(1..=most(self.steps.at(sizes))),
        }
    }

    /// Draws labels other than the blank, at least one for each sample, and all steps.
    pub(crate) fn draw(&self, targets: &mut Inputs, sizes: &Sizes, random: &mut Rng) {
        let classes = self.classes as i32;
        for (name, values) in targets {
            let (Values::Indices(numbers), Some(limits)) = (values, self.limits(name, sizes)) else {
                continue;
            };
            match self.inputs.iter().position(|input| *input == name.as_str()) {
                // The blank's number is that of the last class, if it was another.
                Some(0) if classes > 1 => numbers.mapv_inplace(|_| {
                    let label = random.i32(0..classes - 1);
                    if label == self.blank as i32 { classes - 1 } else { label }
                }),
                // There is no label but the blank.
                Some(1) if classes <= 1 => numbers.fill(0),
                Some(1) => numbers.mapv_inplace(|_| random.i32(1..=*limits.end())),
                Some(2) => numbers.fill(*limits.end()),
                _ => {}
            }
        }
    }
}

/// Three arrays of integers as the target of a CTC loss.
pub(crate) fn target(targets: &[(String, Values)]) -> Result<Target<'_>, Box<dyn Error>> {
    match targets {
        [
            (_, Values::Indices(labels)),
            (_, Values::Indices(label_lengths)),
            (_, Values::Indices(step_lengths)),
        ] => {
            let lengths = label_lengths.as_slice().ok_or("the numbers of labels are not contiguous")?;
            let steps = step_lengths.as_slice().ok_or("the numbers of steps are not contiguous")?;
            Ok(LabelSequences::new(labels, lengths).with_steps(steps).into())
        }
        _ => Err("the CTC loss takes labels, and the numbers of labels and steps".into()),
    }
}
