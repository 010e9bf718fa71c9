//! Image data sets: reading, splitting, normalising, augmenting and batching. A batch is a slice of floats and a slice
//! of labels.

pub mod augment;
pub mod dataset;
pub mod fashion_mnist;
pub mod idx;
pub mod loader;
pub mod mixup;
pub mod normalization;

pub use augment::{Augmentation, Transform};
pub use dataset::{Example, ImageDataset};
pub use fashion_mnist::FashionMnist;
pub use loader::{Batch, DataLoader, Epoch, LoaderOptions};
pub use mixup::{Mixed, Mixup};
pub use normalization::Normalization;
