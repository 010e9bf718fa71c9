//! Targets of the CTC loss: a sequence of labels for each sample.

use windlass_compiler::autodiff::names;
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::Symbol;

use super::Target;
use crate::error::{Error, SequenceProblem};
use crate::network::IndexInput;

/// The labels of each sample of a batch, for [`Loss::Ctc`](windlass_compiler::autodiff::Loss::Ctc).
///
/// ```
/// use ndarray::array;
/// use windlass::LabelSequences;
///
/// // The words "ab" and "b", padded with anything to the same length.
/// let labels = array![[1, 2], [2, 0]];
/// let target = LabelSequences::new(&labels, &[2, 1]).with_steps(&[12, 9]);
/// // trainer.step(&frames, target)?
/// # let _ = target;
/// ```
#[derive(Clone, Debug)]
pub struct LabelSequences<'a> {
    /// Labels `[N, S]`, padded to the longest sequence of the batch.
    pub labels: IndexInput<'a>,
    /// The number of labels of each sample, which may be 0.
    pub lengths: &'a [i32],
    /// The number of the output's steps that belong to each sample; all of them by default.
    pub steps: Option<&'a [i32]>,
}

impl<'a> LabelSequences<'a> {
    /// Labels `[N, S]` with the number of labels of each sample.
    pub fn new(labels: impl Into<IndexInput<'a>>, lengths: &'a [i32]) -> Self {
        LabelSequences { labels: labels.into(), lengths, steps: None }
    }

    /// With the number of the output's steps that belong to each sample; later ones are padding.
    #[must_use]
    pub fn with_steps(self, steps: &'a [i32]) -> Self {
        LabelSequences { steps: Some(steps), ..self }
    }

    /// The length of a row of labels, for labels that fit the batch.
    pub(crate) fn most(&self, batch: usize) -> usize {
        self.labels.elements().len() / batch.max(1)
    }

    /// Checks that it fits an output of these sizes, `[N, T, classes]`. `fits` asks for as many steps as labels need.
    pub(super) fn check(
        &self,
        network: &str,
        blank: usize,
        fits: bool,
        output: &[usize],
    ) -> Result<(), Error> {
        let &[batch, steps, classes] = output else {
            let (expected, got) = ("an output of steps".to_owned(), format!("{output:?}"));
            return Err(Error::Target { network: network.to_owned(), expected, got });
        };
        self.check_shapes(network, batch)?;
        let most = self.most(batch);
        for (sample, labels) in self.labels.elements().chunks(most).enumerate() {
            let refused =
                |problem| Err(Error::LabelSequence { network: network.to_owned(), sample, problem });
            let length = self.lengths[sample];
            let Some(labels) = usize::try_from(length).ok().and_then(|length| labels.get(..length)) else {
                return refused(SequenceProblem::Labels { length, most });
            };
            for (place, &label) in labels.iter().enumerate() {
                match usize::try_from(label) {
                    Ok(class) if class == blank => return refused(SequenceProblem::Blank { place, label }),
                    Ok(class) if class < classes => {}
                    _ => {
                        let (network, place) = (network.to_owned(), vec![sample, place]);
                        return Err(Error::Label { network, place, label, classes });
                    }
                }
            }
            let own = self.steps.map_or(Ok(steps), |own| match usize::try_from(own[sample]) {
                Ok(own @ 1..) if own <= steps => Ok(own),
                _ => Err(own[sample]),
            });
            let steps = match own {
                Ok(own) => own,
                Err(length) => return refused(SequenceProblem::Steps { length, most: steps }),
            };
            let needed = labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
            if fits && steps < needed {
                return refused(SequenceProblem::TooFewSteps { labels: labels.len(), needed, steps });
            }
        }
        Ok(())
    }

    /// Checks that there is a row of labels, and a number of each kind, for each sample.
    fn check_shapes(&self, network: &str, batch: usize) -> Result<(), Error> {
        let wrong =
            |expected: String, got: String| Err(Error::Target { network: network.to_owned(), expected, got });
        let is_batch = match self.labels.shape() {
            Some(&[rows, most]) => rows == batch && most > 0,
            Some(&[most]) => batch == 1 && most > 0,
            Some(_) => false,
            None => !self.labels.elements().is_empty() && self.labels.elements().len().is_multiple_of(batch),
        };
        if !is_batch {
            let got = match self.labels.shape() {
                Some(shape) => format!("an array of shape {shape:?}"),
                None => format!("{} labels", self.labels.elements().len()),
            };
            return wrong(format!("labels of shape [{batch}, most labels of a sample], at least one"), got);
        }
        for (what, lengths) in [("labels", Some(self.lengths)), ("steps", self.steps)] {
            if let Some(lengths) = lengths.filter(|lengths| lengths.len() != batch) {
                return wrong(
                    format!("{batch} numbers of {what}, one per sample"),
                    lengths.len().to_string(),
                );
            }
        }
        Ok(())
    }
}

impl<'a> From<LabelSequences<'a>> for Target<'a> {
    fn from(sequences: LabelSequences<'a>) -> Self {
        Target::Sequences(sequences)
    }
}

/// The rows of labels of a CTC loss.
#[derive(Clone, Debug)]
pub(crate) struct LabelRows {
    /// The output, if there are losses of several.
    pub(crate) output: Option<String>,
    /// The length of a row.
    pub(crate) length: Symbol,
}

/// The rows of labels of a step's CTC losses.
pub(crate) fn label_rows(graph: &Graph) -> Vec<LabelRows> {
    let names = graph.inputs().map(|(_, input)| input.name.as_str());
    let of = |name: &str| {
        if name.split('.').next() != Some(names::LABEL_LENGTHS) {
            return None;
        }
        let output = names::output_of(name).map(str::to_owned);
        let labels = output.as_deref().map_or(names::LABELS.to_owned(), names::labels_of);
        let shape = &graph.ty(graph.source(&labels)?).shape;
        let length = shape.dims().get(1)?.polynomial().as_symbol()?;
        Some(LabelRows { output, length })
    };
    names.filter_map(of).collect()
}
