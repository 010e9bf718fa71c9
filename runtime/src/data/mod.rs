//! Data sets of images and of arrays: reading, splitting, normalising, augmenting and batching. [`Batches`] are what
//! training loops read. Without the feature `data`, there is nothing else.

mod batches;

#[cfg(feature = "data")]
mod ahead;
#[cfg(feature = "data")]
pub mod augment;
#[cfg(feature = "data")]
pub mod cifar;
#[cfg(feature = "data")]
pub mod dataset;
#[cfg(feature = "data")]
pub mod fashion_mnist;
#[cfg(feature = "image")]
pub(crate) mod folder;
#[cfg(feature = "data")]
pub mod idx;
#[cfg(feature = "data")]
pub mod loader;
#[cfg(feature = "data")]
pub mod mixup;
#[cfg(feature = "data")]
pub mod normalization;
#[cfg(feature = "data")]
pub mod npy;
#[cfg(feature = "data")]
mod sampling;
#[cfg(feature = "data")]
mod table;
#[cfg(feature = "data")]
mod tensors;

pub use batches::{AsMinibatch, Batches, FromFn, Minibatch, from_fn};

#[cfg(feature = "image")]
pub use self::folder::{ImageFolder, read_image};
#[cfg(feature = "data")]
pub use self::{
    ahead::{ImageLoader, ImageSource},
    augment::{Augmentation, Transform},
    dataset::{Example, ImageDataset},
    fashion_mnist::FashionMnist,
    loader::{Batch, DataLoader, Epoch, LoaderOptions},
    mixup::{Mixed, Mixup},
    normalization::Normalization,
    table::Table,
    tensors::{BatchOptions, Column, TensorDataset, TensorLoader},
};
#[cfg(feature = "image")]
pub use crate::classify::Classification;
