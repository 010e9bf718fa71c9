//! Writes tensors to safetensors files.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use ndarray::ArrayD;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use tempfile::NamedTempFile;

use crate::at;

pub(crate) fn write(path: &Path, tensors: &[(String, ArrayD<f32>)]) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, values)| values.iter().flat_map(|number| number.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
        Ok((name.as_str(), TensorView::new(Dtype::F32, values.shape().to_vec(), bytes)?))
    });
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    let content = serialize(views, None)?;
    // Written beside the file and renamed, so that no reader sees half of it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(&content)?;
        file.persist(path)?.sync_all()
    });
    written.map_err(|reason| at(path, "write", &reason))
}
