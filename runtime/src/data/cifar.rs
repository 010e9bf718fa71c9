//! Reads CIFAR-10 and CIFAR-100 in their binary form (Krizhevsky 2009): records of one or two label bytes and the 3072 bytes
//! of an image `[3, 32, 32]`.

use std::path::Path;

use super::ImageDataset;
use crate::error::Error;

const IMAGE: [usize; 3] = [3, 32, 32];

/// The classes of CIFAR-10.
pub const CLASSES_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads files of CIFAR-10, such as `data_batch_1.bin` to `data_batch_5.bin`, as one data set.
///
/// ```no_run
/// use std::path::Path;
/// use windlass::data::cifar;
///
/// let folder = Path::new("cifar-10-batches-bin");
/// let train = cifar::read_10((1..=5).map(|batch| folder.join(format!("data_batch_{batch}.bin"))))?;
/// let test = cifar::read_10([folder.join("test_batch.bin")])?;
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; [`Error::DataFile`] for a file that does not consist of whole records, or a label that is no class;
/// [`Error::DataSet`] without files.
pub fn read_10(files: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<ImageDataset, Error> {
    read(files, 1, &CLASSES_10.map(str::to_owned))
}

/// Reads files of CIFAR-100, `train.bin` or `test.bin`, with their 100 fine labels. Classes have the names in
/// `fine_label_names.txt`, a line for each: `class_names` are its lines.
///
/// # Errors
/// As [`read_10`].
pub fn read_100(
    files: impl IntoIterator<Item = impl AsRef<Path>>,
    class_names: &[String],
) -> Result<ImageDataset, Error> {
    read(files, 2, class_names)
}

/// Reads records with this many label bytes, the last of which counts.
fn read(
    files: impl IntoIterator<Item = impl AsRef<Path>>,
    label_bytes: usize,
    class_names: &[String],
) -> Result<ImageDataset, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let record = label_bytes + IMAGE.iter().product::<usize>();
    for path in files {
        let path = path.as_ref();
        let refused = |problem| Error::DataFile { path: path.to_owned(), problem };
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let kind = if label_bytes == 1 { "CIFAR-10" } else { "CIFAR-100" };
            let length = bytes.len();
            return Err(refused(format!(
                "it has {length} bytes, which are no whole records of {kind}, {record} bytes each"
            )));
        }
        for (index, record) in bytes.chunks_exact(record).enumerate() {
            let (label, image) = (record[label_bytes - 1], &record[label_bytes..]);
            if usize::from(label) >= class_names.len() {
                let classes = class_names.len();
                return Err(refused(format!(
                    "record {index} has the label {label}, but there are {classes} classes"
                )));
            }
            labels.push(i32::from(label));
            pixels.extend_from_slice(image);
        }
    }
    ImageDataset::new(pixels, labels, IMAGE, class_names.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_images_and_labels() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let record = |labels: &[u8], value: u8| [labels, &[value; 3072]].concat();
        std::fs::write(path("a.bin"), [record(&[9], 1), record(&[0], 2)].concat()).unwrap();
        std::fs::write(path("b.bin"), record(&[3], 3)).unwrap();
        let data = read_10([path("a.bin"), path("b.bin")]).unwrap();
        assert_eq!((data.labels(), data.image_shape()), (&[9, 0, 3][..], [3, 32, 32]));
        assert_eq!(data.get(2).unwrap().pixels, [3; 3072]);
        assert_eq!(data.class_names()[9], "truck");

        let names: Vec<String> = (0..100).map(|class| format!("class {class}")).collect();
        std::fs::write(path("c.bin"), record(&[19, 99], 4)).unwrap();
        assert_eq!(read_100([path("c.bin")], &names).unwrap().labels(), [99]);

        let message = |file: &str| read_10([path(file)]).unwrap_err().to_string();
        assert!(message("c.bin").contains("c.bin: it has 3074 bytes"), "{}", message("c.bin"));
        std::fs::write(path("d.bin"), record(&[10], 0)).unwrap();
        assert!(message("d.bin").ends_with("record 0 has the label 10, but there are 10 classes"));
        assert!(matches!(read_10([path("none.bin")]), Err(Error::Io { .. })));
    }
}
