//! The backend tests of ONNX: models with inputs and expected outputs.

mod case;

pub use case::{Case, Outcome};
