//! Named tensors in a safetensors file, which Python's tools read and write too. The caller decides which tensors a
//! network has, and what its trainer stores.

mod loading;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Dimension, IxDyn};
use safetensors::Dtype;
use safetensors::tensor::{Metadata as Header, TensorInfo};
use serde::{Deserialize, Serialize};
use windlass_compiler::graph::Graph;

pub use self::loading::LoadOptions;
use crate::atomic_file;
use crate::available;
use crate::error::{CheckpointError, Error, TensorMismatch};
use crate::tensor::{NamedShapes, NamedTensors};

/// The version of [`Metadata`] that is written. Files with a later version are refused.
pub const FORMAT_VERSION: u32 = 1;

/// The metadata key of a file that holds [`Metadata`] as JSON.
const METADATA_KEY: &str = "windlass";
/// The name safetensors reserves for metadata.
const RESERVED_NAME: &str = "__metadata__";
/// The maximum header length, as in other implementations of the format.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const LENGTH_BYTES: u64 = 8;
/// The first bytes of `torch.save` files, which are zip archives.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// PyTorch's name for the batch counter of a batch normalisation, an integer that is not used here.
const BATCH_COUNTER: &str = "num_batches_tracked";

/// The information of a file besides its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The name of the network.
    pub network: String,
    /// Training steps taken.
    pub step: u64,
    /// The optimiser and its settings, in the caller's format; null if there is none.
    #[serde(default)]
    pub optimizer: serde_json::Value,
    /// Any other information, by name.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
    /// The network's graph as text, [`Graph`]'s text form, with which the file needs nothing else:
    /// [`Dynamic::of_checkpoint`](crate::Dynamic::of_checkpoint) reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<String>,
}

impl Metadata {
    /// The metadata of a network: its name and graph.
    pub fn of(graph: &Graph) -> Self {
        Metadata { network: graph.name().to_owned(), graph: Some(graph.to_string()), ..Metadata::default() }
    }

    /// Reads only a file's metadata; `None` for files of other programs.
    ///
    /// # Errors
    /// Like [`Checkpoint::load`] for a file that cannot be read or is not a checkpoint.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        Ok(Reader::open(path)?.metadata)
    }
}

/// How to treat NaN and infinite elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonFinite {
    /// As an error.
    #[default]
    Refuse,
    /// As ordinary elements.
    Allow,
}

/// How to treat unexpected tensors in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unexpected {
    /// As an error.
    #[default]
    Refuse,
    /// Skip them, for example an optimiser's state when a network is only used for prediction.
    Ignore,
}

/// Tensors and their metadata.
///
/// ```
/// use windlass::checkpoint::{Checkpoint, Metadata, NonFinite};
/// let weight = ndarray::ArrayD::from_shape_vec(vec![2, 1], vec![0.5, -0.5])?;
/// let checkpoint = Checkpoint {
///     tensors: [("f1.weight".to_owned(), weight)].into(),
///     metadata: Some(Metadata { network: "net".to_owned(), step: 100, ..Metadata::default() }),
/// };
/// let path = tempfile::tempdir()?.keep().join("net.safetensors");
/// checkpoint.save(&path, NonFinite::Refuse)?;
/// assert_eq!(Checkpoint::load(&path, NonFinite::Refuse)?, checkpoint);
/// # std::fs::remove_dir_all(path.parent().unwrap())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The tensors by name.
    pub tensors: NamedTensors,
    /// The metadata; `None` in files of other programs.
    pub metadata: Option<Metadata>,
}

#[derive(Deserialize, Serialize)]
struct FormatVersion {
    format: u32,
}

#[derive(Serialize)]
struct VersionedMetadata<'a> {
    #[serde(flatten)]
    version: FormatVersion,
    #[serde(flatten)]
    metadata: &'a Metadata,
}

impl Checkpoint {
    /// Writes a file atomically: the content goes to a hidden file in the same directory, is flushed to disk, and is
    /// then renamed. If the process is killed meanwhile, the old file stays, and perhaps a hidden `.….partial`. Equal
    /// checkpoints give equal bytes. Symbolic links are followed, and a replaced file keeps its permissions.
    ///
    /// # Errors
    /// [`Error::Io`], also if the path is a directory, device or pipe; [`Error::NonFinite`] unless allowed;
    /// [`Error::Setting`] for a tensor with the reserved name `__metadata__`.
    pub fn save(&self, path: &Path, non_finite: NonFinite) -> Result<(), Error> {
        if self.tensors.contains_key(RESERVED_NAME) {
            return Err(Error::setting(
                "tensor name",
                RESERVED_NAME,
                "another: safetensors reserves this one",
            ));
        }
        if non_finite == NonFinite::Refuse {
            for (name, tensor) in &self.tensors {
                check_finite(path, name, tensor)?;
            }
        }
        let header = self.header().map_err(|error| format_error(path, error.to_string()))?;
        atomic_file::write(path, |writer| {
            writer.write_all(&(header.len() as u64).to_le_bytes())?;
            writer.write_all(&header)?;
            self.tensors.values().try_for_each(|tensor| write_elements(writer, tensor))
        })
        .map_err(Error::io("write", path))
    }

    /// The header's JSON, padded with spaces to whole words as the format requires.
    fn header(&self) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut end = 0;
        let describe = |(name, tensor): (&String, &ArrayD<f32>)| {
            let start = end;
            end += tensor.len() * size_of::<f32>();
            let info =
                TensorInfo { dtype: Dtype::F32, shape: tensor.shape().to_vec(), data_offsets: (start, end) };
            (name.clone(), info)
        };
        let infos = self.tensors.iter().map(describe).collect();
        let metadata = match &self.metadata {
            Some(metadata) => {
                let version = FormatVersion { format: FORMAT_VERSION };
                let text = serde_json::to_string(&VersionedMetadata { version, metadata })?;
                Some(HashMap::from([(METADATA_KEY.to_owned(), text)]))
            }
            None => None,
        };
        let mut header = serde_json::to_vec(&Header::new(metadata, infos)?)?;
        header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
        Ok(header)
    }

    /// Reads every tensor of a file except PyTorch's batch counters, which are integers.
    ///
    /// # Errors
    /// [`Error::Io`]; [`CheckpointError::Format`] for a truncated or corrupt file; [`CheckpointError::Version`];
    /// [`CheckpointError::Mismatch`] for tensors that are not F32; [`Error::NonFinite`] unless allowed.
    pub fn load(path: &Path, non_finite: NonFinite) -> Result<Self, Error> {
        Self::read_all(Reader::open(path)?, non_finite)
    }

    /// Reads every tensor from the content of a file, for example one embedded in a program.
    ///
    /// # Errors
    /// Like [`Checkpoint::load`], with `<bytes>` as the file's name.
    pub fn from_bytes(bytes: &[u8], non_finite: NonFinite) -> Result<Self, Error> {
        let path = Path::new("<bytes>");
        Self::read_all(Reader::new(path, Cursor::new(bytes), bytes.len() as u64)?, non_finite)
    }

    fn read_all(mut reader: Reader<impl Read + Seek>, non_finite: NonFinite) -> Result<Self, Error> {
        reader.infos.retain(|name, info| info.dtype == Dtype::F32 || !is_batch_counter(name));
        let mismatches: Vec<TensorMismatch> =
            reader.infos.iter().filter_map(|(name, info)| type_mismatch(name, info)).collect();
        reader.refuse(mismatches)?;
        let names: Vec<String> = reader.infos.keys().cloned().collect();
        reader.read(&names, non_finite)
    }

    /// Reads the tensors of a network, which [`shapes_of`](crate::tensor::shapes_of) lists. All mismatches are found
    /// before any tensor is read, and reported at once. PyTorch's batch counters, `….num_batches_tracked`, are skipped.
    ///
    /// # Errors
    /// Like [`Checkpoint::load`], and [`CheckpointError::Mismatch`] for tensors that are missing, have the wrong shape,
    /// or are not expected.
    pub fn load_for(
        path: &Path,
        expected: &NamedShapes,
        unexpected: Unexpected,
        non_finite: NonFinite,
    ) -> Result<Self, Error> {
        let mut reader = Reader::open(path)?;
        reader.check(expected, |_| unexpected == Unexpected::Ignore, Vec::new())?;
        let names: Vec<String> = expected.keys().cloned().collect();
        reader.read(&names, non_finite)
    }

    /// Reads the tensors of a network from a file of that network (or of another one, if the options allow it), renamed
    /// by the options; not those that the options allow to be missing. Tensors whose names satisfy `is_ignored` are
    /// skipped.
    ///
    /// # Errors
    /// Like [`Checkpoint::load_for`], and [`CheckpointError::Network`].
    pub(crate) fn load_network(
        path: &Path,
        graph: &Graph,
        expected: &NamedShapes,
        is_ignored: impl Fn(&str) -> bool,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let (mut reader, network) = (Reader::open(path)?, graph.name());
        let (infos, mismatches) = options.apply(std::mem::take(&mut reader.infos), graph);
        reader.infos = infos;
        // What may be missing is also skipped in another shape.
        let is_kept = |name: &str, shape: &[usize]| {
            let found = reader.infos.get(name).is_some_and(|info| info.shape == shape);
            found || !options.may_be_missing(name)
        };
        let kept: NamedShapes = expected
            .iter()
            .filter(|(name, shape)| is_kept(name, shape))
            .map(|(name, shape)| (name.clone(), shape.clone()))
            .collect();
        let is_ignored =
            |name: &str| is_ignored(name) || expected.contains_key(name) || options.is_skipped(name);
        reader.check(&kept, is_ignored, mismatches)?;
        let named = reader.metadata.as_ref().map(|metadata| metadata.network.as_str());
        match named.filter(|named| !named.is_empty() && *named != network) {
            Some(got) if !options.any_network => {
                let (expected, got) = (network.to_owned(), got.to_owned());
                return Err(Error::Checkpoint(CheckpointError::Network {
                    path: path.to_owned(),
                    expected,
                    got,
                }));
            }
            _ => {}
        }
        let names: Vec<String> = kept.into_keys().collect();
        reader.read(&names, NonFinite::Refuse)
    }
}

/// A file whose header has been read and checked against the file's length.
struct Reader<F> {
    path: PathBuf,
    file: F,
    infos: BTreeMap<String, TensorInfo>,
    metadata: Option<Metadata>,
    /// The offset of the tensors in the file.
    start: u64,
}

impl Reader<File> {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Self::new(path, file, length)
    }
}

impl<F: Read + Seek> Reader<F> {
    /// Reads the header of a file of this length.
    fn new(path: &Path, mut file: F, length: u64) -> Result<Self, Error> {
        let wrong = |problem: String| format_error(path, problem);
        if length < LENGTH_BYTES {
            return Err(wrong(format!(
                "it is truncated to {length} bytes; even the header's length takes 8"
            )));
        }
        let mut header_length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut header_length).map_err(Error::io("read", path))?;
        let is_zip = header_length.starts_with(ZIP_MAGIC);
        let header_length = u64::from_le_bytes(header_length);
        let rest = length - LENGTH_BYTES;
        if header_length > rest.min(MAX_HEADER_BYTES) {
            if is_zip {
                return Err(wrong(
                    "it is a zip archive, as `torch.save` writes them; write the `state_dict` with \
                     `safetensors.torch.save_file` instead"
                        .to_owned(),
                ));
            }
            return Err(wrong(format!(
                "its header should be {header_length} bytes long, but {rest} bytes follow and a header has \
                 {MAX_HEADER_BYTES} at most; it is truncated or of another format"
            )));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(Error::io("read", path))?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| wrong(format!("its header: {error}")))?;
        let (described, present) = (header.data_len() as u64, rest - header_length);
        if described != present {
            return Err(wrong(format!(
                "its header describes {described} bytes of tensors but {present} are there; fetch or save it again"
            )));
        }
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
        let metadata = metadata.map(|text| parse_metadata(path, text)).transpose()?;
        let infos = header.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Reader { path: path.to_owned(), file, infos, metadata, start: LENGTH_BYTES + header_length })
    }

    /// Fails with all mismatches if the file's tensors are not the expected ones.
    fn check(
        &self,
        expected: &NamedShapes,
        is_ignored: impl Fn(&str) -> bool,
        mut mismatches: Vec<TensorMismatch>,
    ) -> Result<(), Error> {
        for (name, shape) in expected {
            match self.infos.get(name) {
                None => {
                    mismatches.push(TensorMismatch::Missing { name: name.clone(), expected: shape.clone() })
                }
                Some(info) => {
                    mismatches.extend(type_mismatch(name, info));
                    if info.shape != *shape {
                        let got = info.shape.clone();
                        let expected = shape.clone();
                        mismatches.push(TensorMismatch::Shape { name: name.clone(), expected, got });
                    }
                }
            }
        }
        let others = self.infos.iter().filter(|(name, _)| {
            !expected.contains_key(*name) && !is_batch_counter(name) && !is_ignored(name)
        });
        mismatches.extend(
            others.map(|(name, info)| TensorMismatch::Unexpected {
                name: name.clone(),
                got: info.shape.clone(),
            }),
        );
        self.refuse(mismatches)
    }

    fn refuse(&self, mismatches: Vec<TensorMismatch>) -> Result<(), Error> {
        if mismatches.is_empty() {
            return Ok(());
        }
        Err(Error::Checkpoint(CheckpointError::Mismatch { path: self.path.clone(), mismatches }))
    }

    fn read(&mut self, names: &[String], non_finite: NonFinite) -> Result<Checkpoint, Error> {
        let mut tensors = NamedTensors::new();
        for name in names {
            let info = &self.infos[name];
            let (start, end) = info.data_offsets;
            let mut elements: Vec<f32> =
                available::zeros((end - start) / size_of::<f32>(), || format!("`{name}`"))?;
            self.file
                .seek(SeekFrom::Start(self.start + start as u64))
                .and_then(|_| self.file.read_exact(bytemuck::cast_slice_mut(&mut elements)))
                .map_err(Error::io("read", &self.path))?;
            if cfg!(target_endian = "big") {
                elements.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits().swap_bytes()));
            }
            let tensor = ArrayD::from_shape_vec(IxDyn(&info.shape), elements)
                .map_err(|error| format_error(&self.path, format!("`{name}` {:?}: {error}", info.shape)))?;
            if non_finite == NonFinite::Refuse {
                check_finite(&self.path, name, &tensor)?;
            }
            tensors.insert(name.clone(), tensor);
        }
        Ok(Checkpoint { tensors, metadata: self.metadata.take() })
    }
}

fn parse_metadata(path: &Path, text: &str) -> Result<Metadata, Error> {
    let wrong = |error| format_error(path, format!("its `{METADATA_KEY}` metadata: {error}"));
    let FormatVersion { format } = serde_json::from_str(text).map_err(wrong)?;
    if format > FORMAT_VERSION {
        return Err(Error::Checkpoint(CheckpointError::Version {
            path: path.to_owned(),
            got: format,
            supported: FORMAT_VERSION,
        }));
    }
    serde_json::from_str(text).map_err(wrong)
}

fn format_error(path: &Path, problem: String) -> Error {
    Error::Checkpoint(CheckpointError::Format { path: path.to_owned(), problem })
}

fn type_mismatch(name: &str, info: &TensorInfo) -> Option<TensorMismatch> {
    (info.dtype != Dtype::F32)
        .then(|| TensorMismatch::Type { name: name.to_owned(), got: info.dtype.to_string() })
}

fn is_batch_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(BATCH_COUNTER)
}

fn check_finite(path: &Path, name: &str, tensor: &ArrayD<f32>) -> Result<(), Error> {
    // Computing the index of every element is slow, so it is only done for a tensor with a NaN or infinite element.
    if tensor.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    match tensor.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(Error::NonFinite {
            path: path.to_owned(),
            tensor: name.to_owned(),
            index: index.as_array_view().to_vec(),
            value,
        }),
    }
}

fn write_elements(writer: &mut dyn Write, tensor: &ArrayD<f32>) -> io::Result<()> {
    let tensor = tensor.as_standard_layout();
    match tensor.as_slice() {
        Some(elements) if cfg!(target_endian = "little") => writer.write_all(bytemuck::cast_slice(elements)),
        _ => tensor.iter().try_for_each(|element| writer.write_all(&element.to_le_bytes())),
    }
}

#[cfg(test)]
mod tests;
