//! Files that are written whole: beside their place, and then renamed, so that no reader sees half of one.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use crate::at;

/// Writes a file, or replaces it.
///
/// # Errors
/// That it could not be written, with its path; the file is then as it was.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Box<dyn Error>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; this one gets the permissions of an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let written = builder.tempfile_in(folder).and_then(|mut file| {
        file.write_all(content.as_ref())?;
        file.persist(path)?.sync_all()
    });
    written.map_err(|reason| at(path, "write", &reason))
}
