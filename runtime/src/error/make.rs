//! Short ways to make errors.

use std::fmt;
use std::io;
use std::path::Path;

use super::Error;

impl Error {
    /// Adds the file and the operation to an I/O error, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
        let path = path.to_owned();
        move |reason| Error::Io { action, path: path.clone(), reason }
    }

    /// A setting outside its range.
    pub(crate) fn setting(
        setting: impl Into<String>,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Error {
        Error::Setting { setting: setting.into(), value: value.to_string(), expected: expected.into() }
    }
}
