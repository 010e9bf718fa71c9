//! A set of labelled images in memory, one byte per pixel and channel.

use rand::seq::SliceRandom;

use crate::error::{DataSetProblem, Error};
use crate::random::{Purpose, stream};

/// Labelled images of one shape.
///
/// ```
/// use windlass::data::ImageDataset;
/// let pixels = vec![0, 1, 2, 3, 4, 5, 6, 7];
/// let names = vec!["dark".to_owned(), "light".to_owned()];
/// let dataset = ImageDataset::new(pixels, vec![0, 1], [1, 2, 2], names)?;
/// let example = dataset.get(1).unwrap();
/// assert_eq!((example.pixels, example.label), (&[4, 5, 6, 7][..], 1));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDataset {
    pixels: Vec<u8>,
    labels: Vec<i32>,
    image_shape: [usize; 3],
    class_names: Vec<String>,
}

/// One labelled image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example<'a> {
    /// The pixels, `[channels, height, width]`, with the last axis contiguous.
    pub pixels: &'a [u8],
    /// The index of its class.
    pub label: i32,
}

impl ImageDataset {
    /// A data set of `[count, channels, height, width]` pixels, with the last axis contiguous, and `count` labels.
    ///
    /// # Errors
    /// [`Error::DataSet`] if there are no examples, an axis is 0, the numbers of images and labels differ, or a label
    /// is not below the number of class names.
    pub fn new(
        pixels: Vec<u8>,
        labels: Vec<i32>,
        image_shape: [usize; 3],
        class_names: Vec<String>,
    ) -> Result<Self, Error> {
        check(&pixels, &labels, image_shape, class_names.len()).map_err(DataSetProblem::in_memory)?;
        Ok(ImageDataset { pixels, labels, image_shape, class_names })
    }

    /// The number of examples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height and width of every image.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    /// The number of bytes of an image: channels × height × width.
    pub fn image_len(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// The name of each class.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// All pixels, `[count, channels, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All labels.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// An example; `None` past the end.
    pub fn get(&self, index: usize) -> Option<Example<'_>> {
        let label = *self.labels.get(index)?;
        let length = self.image_len();
        Some(Example { pixels: &self.pixels[index * length..(index + 1) * length], label })
    }

    /// The number of examples of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.class_names.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The examples at these indices, in this order; indices may repeat.
    ///
    /// # Errors
    /// [`Error::DataSet`] for an index past the end or an empty list.
    pub fn select(&self, indices: &[usize]) -> Result<Self, Error> {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_len());
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let example = self
                .get(index)
                .ok_or_else(|| DataSetProblem::IndexOutOfRange { index, examples: self.len() }.in_memory())?;
            pixels.extend_from_slice(example.pixels);
            labels.push(example.label);
        }
        Self::new(pixels, labels, self.image_shape, self.class_names.clone())
    }

    /// The first `first` examples, and the rest.
    ///
    /// # Errors
    /// [`Error::DataSet`] when either part would be empty.
    pub fn split_at(&self, first: usize) -> Result<(Self, Self), Error> {
        self.divide(first, &(0..self.len()).collect::<Vec<_>>())
    }

    /// `first` random examples, and the rest: for example a training and a validation set. The same seed gives the same
    /// split.
    ///
    /// # Errors
    /// [`Error::DataSet`] when either part would be empty.
    pub fn split_randomly(&self, first: usize, seed: u64) -> Result<(Self, Self), Error> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut stream(seed, Purpose::Split, 0, 0));
        self.divide(first, &order)
    }

    fn divide(&self, first: usize, order: &[usize]) -> Result<(Self, Self), Error> {
        if first == 0 || first >= order.len() {
            return Err(DataSetProblem::EmptySplit { first, examples: order.len() }.in_memory());
        }
        let (head, tail) = order.split_at(first);
        Ok((self.select(head)?, self.select(tail)?))
    }
}

fn check(pixels: &[u8], labels: &[i32], shape: [usize; 3], classes: usize) -> Result<(), DataSetProblem> {
    if shape.contains(&0) {
        return Err(DataSetProblem::ImageShape { shape });
    }
    let length = shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .ok_or(DataSetProblem::ImageTooLarge { shape })?;
    let (images, rest) = (pixels.len() / length, pixels.len() % length);
    if images != labels.len() || rest > 0 {
        return Err(DataSetProblem::CountsDiffer {
            pixels: pixels.len(),
            images,
            rest,
            shape,
            labels: labels.len(),
        });
    }
    if labels.is_empty() {
        return Err(DataSetProblem::Empty);
    }
    let names_a_class = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
    match labels.iter().enumerate().find(|(_, label)| !names_a_class(**label)) {
        Some((index, &label)) => Err(DataSetProblem::LabelOutOfRange { index, label, classes }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    /// Images of 1×1×2 pixels that hold their own index.
    fn numbered(count: u8) -> ImageDataset {
        let pixels = (0..count).flat_map(|index| [index, index]).collect();
        let labels = (0..count).map(|index| i32::from(index) % 3).collect();
        ImageDataset::new(pixels, labels, [1, 1, 2], names(3)).unwrap()
    }

    fn first_pixels(dataset: &ImageDataset) -> Vec<u8> {
        (0..dataset.len()).map(|index| dataset.get(index).unwrap().pixels[0]).collect()
    }

    fn refused(pixels: usize, labels: Vec<i32>, shape: [usize; 3]) -> String {
        ImageDataset::new(vec![0; pixels], labels, shape, names(2)).unwrap_err().to_string()
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert_eq!(
            refused(0, vec![], [1, 2, 2]),
            "the data set: there are no examples in it; at least one is needed"
        );
        assert_eq!(
            refused(9, vec![0, 1], [1, 2, 2]),
            "the data set: 9 pixels make 2 images of [1, 2, 2] with 1 left over, but there are 2 labels"
        );
        assert_eq!(
            refused(8, vec![0], [1, 2, 2]),
            "the data set: 8 pixels make 2 images of [1, 2, 2] with 0 left over, but there are 1 labels"
        );
        assert_eq!(
            refused(8, vec![1, 2], [1, 2, 2]),
            "the data set: label 2 of example 1 is not one of the 2 classes 0..2"
        );
        assert_eq!(
            refused(4, vec![-1], [1, 2, 2]),
            "the data set: label -1 of example 0 is not one of the 2 classes 0..2"
        );
        for shape in [[0, 2, 2], [1, 0, 2], [1, 2, 0], [usize::MAX, 2, 0]] {
            assert!(refused(4, vec![0], shape).contains("every size must be at least 1"), "{shape:?}");
        }
        for shape in [[usize::MAX, 2, 2], [2, usize::MAX, 1]] {
            assert!(refused(4, vec![0], shape).contains("overflows"), "{shape:?}");
        }
    }

    #[test]
    fn examples_are_found_by_index() {
        let dataset = numbered(5);
        assert_eq!(dataset.len(), 5);
        assert_eq!(dataset.get(4), Some(Example { pixels: &[4, 4], label: 1 }));
        assert_eq!(dataset.get(5), None);
        assert_eq!(dataset.class_counts(), [2, 2, 1]);
    }

    #[test]
    fn selecting_keeps_order_and_repeats() {
        let chosen = numbered(5).select(&[3, 0, 3]).unwrap();
        assert_eq!(first_pixels(&chosen), [3, 0, 3]);
        assert_eq!(chosen.labels(), [0, 0, 0]);
        assert_eq!(
            numbered(5).select(&[5]).unwrap_err().to_string(),
            "the data set: example 5 does not exist: there are 5"
        );
        assert!(numbered(5).select(&[]).is_err());
    }

    #[test]
    fn splitting_in_order() {
        let (head, tail) = numbered(5).split_at(2).unwrap();
        assert_eq!((first_pixels(&head), first_pixels(&tail)), (vec![0, 1], vec![2, 3, 4]));
        for first in [0, 5, 6] {
            assert!(numbered(5).split_at(first).is_err(), "{first}");
        }
    }

    #[test]
    fn splitting_by_chance_divides_and_repeats() {
        let dataset = numbered(100);
        let (head, tail) = dataset.split_randomly(30, 7).unwrap();
        assert_eq!((head.len(), tail.len()), (30, 70));
        let mut all = [first_pixels(&head), first_pixels(&tail)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert_eq!(dataset.split_randomly(30, 7).unwrap().0, head);
        assert_ne!(dataset.split_randomly(30, 8).unwrap().0, head);
    }
}
