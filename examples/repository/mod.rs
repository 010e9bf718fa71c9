//! The folder of the repository, which has the data of the examples, and `target` for what they write.

use std::path::Path;

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    examples.parent().unwrap_or(examples)
}
