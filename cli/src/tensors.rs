//! Writes tensors to safetensors files.

use std::error::Error;
use std::path::Path;

use ndarray::ArrayD;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::files;

pub(crate) fn write(path: &Path, tensors: &[(String, ArrayD<f32>)]) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, values)| values.iter().flat_map(|number| number.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
        Ok((name.as_str(), TensorView::new(Dtype::F32, values.shape().to_vec(), bytes)?))
    });
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    files::write(path, serialize(views, None)?)
}
