//! Data sets of images and of arrays: reading, splitting, normalising, augmenting and batching. [`Batches`] are what
//! training loops read. Without the feature `data`, there is nothing else.

mod batches;

#[cfg(feature = "data")]
pub mod augment;
#[cfg(feature = "data")]
pub mod dataset;
#[cfg(feature = "data")]
pub mod fashion_mnist;
#[cfg(feature = "data")]
pub mod idx;
#[cfg(feature = "data")]
pub mod loader;
#[cfg(feature = "data")]
pub mod mixup;
#[cfg(feature = "data")]
pub mod normalization;
#[cfg(feature = "data")]
mod tensors;

pub use batches::{AsMinibatch, Batches, FromFn, Minibatch, from_fn};

#[cfg(feature = "data")]
pub use self::{
    augment::{Augmentation, Transform},
    dataset::{Example, ImageDataset},
    fashion_mnist::FashionMnist,
    loader::{Batch, DataLoader, Epoch, LoaderOptions},
    mixup::{Mixed, Mixup},
    normalization::Normalization,
    tensors::{BatchOptions, Column, TensorDataset, TensorLoader},
};
