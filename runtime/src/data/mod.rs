//! Data sets of images and of arrays: reading, splitting, normalising, augmenting and batching. [`Batches`] are what
//! training loops read.

pub mod augment;
mod batches;
pub mod dataset;
pub mod fashion_mnist;
pub mod idx;
pub mod loader;
pub mod mixup;
pub mod normalization;
mod tensors;

pub use augment::{Augmentation, Transform};
pub use batches::{AsMinibatch, Batches, FromFn, Minibatch, from_fn};
pub use dataset::{Example, ImageDataset};
pub use fashion_mnist::FashionMnist;
pub use loader::{Batch, DataLoader, Epoch, LoaderOptions};
pub use mixup::{Mixed, Mixup};
pub use normalization::Normalization;
pub use tensors::{BatchOptions, Column, TensorDataset, TensorLoader};
