//! Which examples a batch has: balanced draws, class weights, and splits that keep the shares of classes.

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;

use super::{ImageDataset, TensorDataset};
use crate::error::{DataSetProblem, Error};
use crate::random::{Purpose, stream};

/// The order of the examples in an epoch: that of the data set, random, or drawn by weights.
pub(super) fn order(
    examples: usize,
    shuffle: bool,
    weights: Option<&[f64]>,
    seed: u64,
    epoch: u64,
) -> Vec<usize> {
    let mut random = stream(seed, Purpose::Shuffle, epoch, 0);
    // The weights were checked.
    if let Some(drawn) = weights.and_then(|weights| WeightedIndex::new(weights).ok()) {
        return drawn.sample_iter(&mut random).take(examples).collect();
    }
    let mut order: Vec<usize> = (0..examples).collect();
    if shuffle {
        order.shuffle(&mut random);
    }
    order
}

/// Checks the weights of a loader.
pub(super) fn check_weights(weights: Option<&[f64]>, examples: usize) -> Result<(), Error> {
    match weights {
        Some(weights) if weights.len() != examples => {
            let expected = format!("one for each of the {examples} examples");
            Err(Error::setting("weights", format!("{} numbers", weights.len()), expected))
        }
        Some(weights) if WeightedIndex::new(weights).is_err() => {
            Err(Error::setting("weights", "invalid", "finite, at least 0, and not all 0"))
        }
        _ => Ok(()),
    }
}

/// The weight of each class for a loss: inversely proportional to its number of examples, with a mean over all examples of 1,
/// like scikit-learn's `balanced`. A class without examples has the weight 0.
fn class_weights(labels: &[i32], classes: usize) -> Vec<f32> {
    let counts = counts(labels, classes);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => labels.len() as f32 / (present * count) as f32,
    };
    counts.iter().map(weight).collect()
}

fn counts(labels: &[i32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &label in labels {
        if let Some(count) = usize::try_from(label).ok().and_then(|label| counts.get_mut(label)) {
            *count += 1;
        }
    }
    counts
}

/// The weight of each example so that all classes are drawn equally often.
fn balanced(labels: &[i32], classes: usize) -> Vec<f64> {
    let counts = counts(labels, classes);
    let weight = |&label: &i32| counts.get(label as usize).map_or(0.0, |&count| 1.0 / count.max(1) as f64);
    labels.iter().map(weight).collect()
}

/// Random examples of each class, a share of each, and the rest. Both parts are in the order of the data set.
fn stratified(labels: &[i32], share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>), Error> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::setting("share", share, "above 0 and below 1"));
    }
    let mut classes: Vec<i32> = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (place, class) in (0u64..).zip(classes) {
        let mut own: Vec<usize> = (0..labels.len()).filter(|&index| labels[index] == class).collect();
        own.shuffle(&mut stream(seed, Purpose::Split, 1, place));
        let (chosen, others) = own.split_at((own.len() as f64 * share).round() as usize);
        first.extend_from_slice(chosen);
        rest.extend_from_slice(others);
    }
    if first.is_empty() || rest.is_empty() {
        return Err(DataSetProblem::EmptySplit { first: first.len(), examples: labels.len() }.in_memory());
    }
    first.sort_unstable();
    rest.sort_unstable();
    Ok((first, rest))
}

impl ImageDataset {
    /// A random share of the examples of each class, and the rest. The same seed gives the same split.
    ///
    /// ```
    /// use windlass::data::ImageDataset;
    /// let names = vec!["rare".to_owned(), "common".to_owned()];
    /// let labels = (0..20).map(|index| i32::from(index >= 5)).collect();
    /// let data = ImageDataset::new(vec![0; 20], labels, [1, 1, 1], names)?;
    /// let (train, test) = data.split_stratified(0.8, 42)?;
    /// assert_eq!((train.class_counts(), test.class_counts()), (vec![4, 12], vec![1, 3]));
    /// assert_eq!(data.class_weights(), [2.0, 2.0 / 3.0]); // for the weights of a loss
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside 0 to 1, [`Error::DataSet`] when a part would be empty.
    pub fn split_stratified(&self, share: f64, seed: u64) -> Result<(Self, Self), Error> {
        let (first, rest) = stratified(self.labels(), share, seed)?;
        Ok((self.select(&first)?, self.select(&rest)?))
    }

    /// The weights of the classes for a loss such as [`Loss::CrossEntropyWith`](windlass_compiler::autodiff::Loss): rare
    /// classes weigh more, and the mean over all examples is 1.
    pub fn class_weights(&self) -> Vec<f32> {
        class_weights(self.labels(), self.class_names().len())
    }

    /// The weight of each example with which all classes are drawn equally often, for
    /// [`LoaderOptions::weights`](super::LoaderOptions::weights).
    pub fn balanced_weights(&self) -> Vec<f64> {
        balanced(self.labels(), self.class_names().len())
    }
}

impl TensorDataset {
    /// A random share of the examples of each class, and the rest, by the labels of the first target. The same seed gives the
    /// same split.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside 0 to 1 or a target that is not one label for each example, [`Error::DataSet`] when a
    /// part would be empty.
    pub fn split_stratified(&self, share: f64, seed: u64) -> Result<(Self, Self), Error> {
        let (first, rest) = stratified(self.labels()?, share, seed)?;
        Ok((self.select(&first)?, self.select(&rest)?))
    }

    /// The weights of the classes for a loss, like [`ImageDataset::class_weights`].
    ///
    /// # Errors
    /// [`Error::Setting`] for a target that is not one label for each example.
    pub fn class_weights(&self, classes: usize) -> Result<Vec<f32>, Error> {
        Ok(class_weights(self.labels()?, classes))
    }

    /// The weight of each example with which all classes are drawn equally often, for
    /// [`BatchOptions::weights`](super::BatchOptions::weights).
    ///
    /// # Errors
    /// [`Error::Setting`] for a target that is not one label for each example.
    pub fn balanced_weights(&self) -> Result<Vec<f64>, Error> {
        let labels = self.labels()?;
        let classes = labels.iter().max().map_or(0, |&label| label.max(0) as usize + 1);
        Ok(balanced(labels, classes))
    }

    fn labels(&self) -> Result<&[i32], Error> {
        self.target_labels()
            .filter(|labels| labels.len() == self.len())
            .ok_or_else(|| Error::setting("target", "of another kind", "a label for each example"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_how_often_examples_are_drawn() {
        let weights = [0.0, 1.0, 3.0];
        let mut drawn = [0u32; 3];
        for epoch in 0..2000 {
            order(3, true, Some(&weights), 5, epoch).iter().for_each(|&index| drawn[index] += 1);
        }
        assert_eq!(drawn[0], 0);
        // 6000 draws with probability 3/4: a standard deviation of 34.
        assert!(drawn[2].abs_diff(4500) < 170, "{drawn:?}");
        assert_eq!(order(3, true, Some(&weights), 5, 7), order(3, true, Some(&weights), 5, 7));
    }

    #[test]
    fn balanced_weights_give_each_class_the_same_share() {
        let labels = [0, 0, 0, 1, 2, 2];
        let weights = balanced(&labels, 3);
        for class in 0..3 {
            let sum: f64 = (0..6).filter(|&index| labels[index] == class).map(|index| weights[index]).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
        assert_eq!(class_weights(&labels, 4), [2.0 / 3.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let message = |weights: &[f64]| check_weights(Some(weights), 2).unwrap_err().to_string();
        assert_eq!(message(&[1.0]), "`weights` is 1 numbers but must be one for each of the 2 examples");
        for weights in [[0.0, 0.0], [-1.0, 2.0], [f64::NAN, 1.0], [f64::INFINITY, 1.0]] {
            assert!(message(&weights).contains("at least 0"), "{weights:?}");
        }
        check_weights(Some(&[0.0, 0.5]), 2).unwrap();
        check_weights(None, 2).unwrap();
    }

    #[test]
    fn strata_keep_their_shares_and_repeat() {
        let labels: Vec<i32> = (0..100).map(|index| i32::from(index % 10 == 0)).collect();
        let (first, rest) = stratified(&labels, 0.7, 1).unwrap();
        let rare = |part: &[usize]| part.iter().filter(|&&index| labels[index] == 1).count();
        assert_eq!((first.len(), rare(&first), rest.len(), rare(&rest)), (70, 7, 30, 3));
        assert_eq!(stratified(&labels, 0.7, 1).unwrap().0, first);
        assert_ne!(stratified(&labels, 0.7, 2).unwrap().0, first);
        assert!(stratified(&labels, 1.0, 1).is_err());
        assert!(stratified(&[0, 1], 0.2, 1).is_err());
    }
}
