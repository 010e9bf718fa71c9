//! Finds and loads Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): grey images of 28×28 pixels in ten
//! classes of clothing. The whole set or a subset is a directory with the four files under their usual names.

use std::path::{Path, PathBuf};

use super::ImageDataset;
use super::idx::Idx;
use crate::error::{DataSetProblem, Error};

/// The names of the classes, by label.
pub const CLASS_NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Where Debian's package `dataset-fashion-mnist` installs the whole set.
pub const SYSTEM_DIRECTORY: &str = "/usr/share/datasets/fashion-mnist";

const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Both parts of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FashionMnist {
    /// The training images: 60,000 in the whole set.
    pub train: ImageDataset,
    /// The test images: 10,000 in the whole set.
    pub test: ImageDataset,
}

impl FashionMnist {
    /// Loads both parts from a directory. Each file may be gzipped, with or without the extension `.gz`.
    ///
    /// # Errors
    /// [`Error::DataSetNotFound`] if a file is missing, the errors of [`Idx::read`], and [`Error::DataSet`] if images
    /// and labels do not match.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        Ok(FashionMnist { train: load_part(directory, TRAIN)?, test: load_part(directory, TEST)? })
    }

    /// The first of these directories that contains all four files. A useful list is a directory given by the user,
    /// [`SYSTEM_DIRECTORY`], and a bundled subset.
    ///
    /// # Errors
    /// [`Error::DataSetNotFound`], listing the directories.
    pub fn locate<P: AsRef<Path>>(directories: impl IntoIterator<Item = P>) -> Result<PathBuf, Error> {
        let directories: Vec<PathBuf> =
            directories.into_iter().map(|path| path.as_ref().to_owned()).collect();
        let complete =
            |directory: &&PathBuf| TRAIN.iter().chain(&TEST).all(|name| find_file(directory, name).is_some());
        match directories.iter().find(complete) {
            Some(directory) => Ok(directory.clone()),
            None => Err(not_found(directories)),
        }
    }
}

fn load_part(directory: &Path, [images, labels]: [&str; 2]) -> Result<ImageDataset, Error> {
    let path_of = |name| find_file(directory, name).ok_or_else(|| not_found(vec![directory.to_owned()]));
    let (images_path, labels_path) = (path_of(images)?, path_of(labels)?);
    let images = Idx::read(&images_path, 3)?;
    let labels = Idx::read(&labels_path, 1)?;
    let shape = [1, images.sizes[1], images.sizes[2]];
    let labels = labels.data.into_iter().map(i32::from).collect();
    let names = CLASS_NAMES.map(str::to_owned).to_vec();
    ImageDataset::new(images.data, labels, shape, names).map_err(|error| match error {
        Error::DataSet { problem, .. } => {
            let path =
                if matches!(problem, DataSetProblem::ImageShape { .. }) { images_path } else { labels_path };
            Error::DataSet { name: path.display().to_string(), problem }
        }
        other => other,
    })
}

fn find_file(directory: &Path, name: &str) -> Option<PathBuf> {
    [format!("{name}.gz"), name.to_owned()]
        .into_iter()
        .map(|name| directory.join(name))
        .find(|path| path.is_file())
}

fn not_found(directories: Vec<PathBuf>) -> Error {
    Error::DataSetNotFound {
        name: "Fashion-MNIST (train-images-idx3-ubyte.gz and its three companions)",
        directories,
        help: "install Debian's package `dataset-fashion-mnist`, or put the four files into one of these directories",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn subset() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fashion-mnist")
    }

    /// A copy of the subset, which a test may damage.
    fn copy() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in TRAIN.iter().chain(&TEST) {
            let name = format!("{name}.gz");
            fs::copy(subset().join(&name), directory.path().join(&name)).unwrap();
        }
        directory
    }

    #[test]
    fn the_subset_is_balanced() {
        let data = FashionMnist::load(&subset()).unwrap();
        assert_eq!(data.train.image_shape(), [1, 28, 28]);
        assert_eq!(data.train.class_counts(), [800; 10]);
        assert_eq!(data.test.class_counts(), [150; 10]);
        assert_eq!(data.test.class_names()[9], "Ankle boot");
        assert_eq!(data.train.get(0).unwrap().label, 9);
    }

    #[test]
    fn the_whole_set_holds_the_subset_in_order() {
        // The package is not installed everywhere; the subset is compared with it where it is.
        let Ok(directory) = FashionMnist::locate([SYSTEM_DIRECTORY]) else { return };
        let whole = FashionMnist::load(&directory).unwrap();
        let part = FashionMnist::load(&subset()).unwrap();
        assert_eq!((whole.train.len(), whole.test.len()), (60_000, 10_000));
        for (whole, part, per_class) in [(whole.train, part.train, 800), (whole.test, part.test, 150)] {
            let mut taken = [0; 10];
            let first_of_each = |&index: &usize| {
                let count = &mut taken[whole.labels()[index] as usize];
                *count += 1;
                *count <= per_class
            };
            let indices: Vec<usize> = (0..whole.len()).filter(first_of_each).collect();
            assert_eq!(whole.select(&indices).unwrap(), part);
        }
    }

    #[test]
    fn the_first_complete_directory_is_located() {
        let (empty, incomplete, complete) = (tempfile::tempdir().unwrap(), copy(), copy());
        fs::remove_file(incomplete.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let directories = [empty.path(), incomplete.path(), complete.path(), &subset()];
        assert_eq!(FashionMnist::locate(directories).unwrap(), complete.path());

        let message = FashionMnist::locate(&directories[..2]).unwrap_err().to_string();
        for directory in &directories[..2] {
            assert!(message.contains(directory.to_str().unwrap()), "{message}");
        }
        assert!(message.contains("dataset-fashion-mnist"), "{message}");
        let result = FashionMnist::load(incomplete.path());
        assert!(matches!(result, Err(Error::DataSetNotFound { .. })), "{result:?}");
    }

    #[test]
    fn unpacked_files_are_read_too() {
        let directory = copy();
        let gzipped = directory.path().join("t10k-labels-idx1-ubyte.gz");
        let labels = Idx::read(&gzipped, 1).unwrap();
        let mut plain = vec![0, 0, 8, 1];
        plain.extend((labels.data.len() as u32).to_be_bytes());
        plain.extend(&labels.data);
        fs::remove_file(gzipped).unwrap();
        fs::write(directory.path().join("t10k-labels-idx1-ubyte"), plain).unwrap();
        let test = FashionMnist::load(directory.path()).unwrap().test;
        assert_eq!(test.class_counts(), [150; 10]);
    }

    #[test]
    fn files_that_do_not_fit_are_refused_by_name() {
        let refused = |name: &str, content: &[u8]| {
            let directory = copy();
            fs::write(directory.path().join(name), content).unwrap();
            let message = FashionMnist::load(directory.path()).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
            message
        };
        let labels = "train-labels-idx1-ubyte.gz";
        assert!(refused(labels, &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4]).contains("but there are 2 labels"));
        let mut high = vec![0, 0, 8, 1, 0, 0, 0x1f, 0x40];
        high.resize(8 + 8000, 10);
        assert!(refused(labels, &high).contains("label 10 of example 0 is not one of the 10 classes"));
        let images = "t10k-images-idx3-ubyte.gz";
        let flat = [0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 28];
        assert!(refused(images, &flat).contains("[1, 0, 28]"));
        assert!(refused(images, &[0, 0, 8, 1, 0, 0, 0, 0]).contains("0x00000801"));
    }
}
