//! Atomic file writes: a file is replaced completely or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The maximum number of symbolic links to follow, as in the system.
const MOST_LINKS: usize = 40;

/// The steps of a write, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Creates the temporary file.
    Create,
    /// Gives it the permissions of the file it replaces.
    SetPermissions,
    /// Writes a part of the content; repeated as needed.
    Write,
    /// Flushes the content to disk.
    Sync,
    /// Renames it to the final name.
    Rename,
    /// Flushes the directory entry to disk.
    SyncDirectory,
}

/// Writes a temporary file in the same directory, flushes it to disk, and renames it. Symbolic links are followed: the
/// target is replaced, in its own directory. A replaced file keeps its permissions.
///
/// # Errors
/// The system's errors; an error of kind [`io::ErrorKind::InvalidInput`] if the path is not a regular file.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    write_observed(path, &mut |_| Ok(()), write)
}

/// Like [`write`]. `before` is called before each step and may make it fail.
fn write_observed(
    path: &Path,
    before: &mut dyn FnMut(Operation) -> io::Result<()>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let (target, replaced) = follow(path)?;
    let Some(name) = target.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let directory = directory_of(&target);
    if !directory.is_dir() {
        let message = format!("the directory `{}` does not exist", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    // Temporary files are private by default; this one gets the permissions of an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    before(Operation::Create)?;
    let mut temporary = builder.tempfile_in(directory).map_err(|error| cannot_create(directory, &error))?;
    if let Some(replaced) = replaced {
        before(Operation::SetPermissions)?;
        temporary.as_file().set_permissions(replaced.permissions())?;
    }
    let mut writer = io::BufWriter::new(Observed { file: temporary.as_file_mut(), before: &mut *before });
    write(&mut writer).and_then(|()| writer.flush())?;
    drop(writer);
    before(Operation::Sync)?;
    temporary.as_file().sync_all()?;
    before(Operation::Rename)?;
    temporary.persist(&target).map_err(|error| error.error)?;
    before(Operation::SyncDirectory)?;
    #[cfg(unix)]
    File::open(directory).and_then(|directory| directory.sync_all())?;
    Ok(())
}

/// Follows symbolic links; returns the final path, and the metadata of an existing file.
fn follow(path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let link = fs::read_link(&path)?;
                path = directory_of(&path).join(link);
            }
            Ok(found) if found.is_file() => return Ok((path, Some(found))),
            Ok(found) => {
                let kind = if found.is_dir() { "a directory" } else { "a device, pipe or socket" };
                let message = format!("`{}` is {kind}, no regular file; give another name", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((path, None)),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links lead on from it"))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The system's error without the name of the temporary file, which the user does not know.
fn cannot_create(directory: &Path, error: &io::Error) -> io::Error {
    let mut reason = error.to_string();
    if let Some((first, _)) = reason.split_once(" at path ") {
        reason.truncate(first.len());
    }
    io::Error::new(error.kind(), format!("no file can be made in `{}`: {reason}", directory.display()))
}

/// A file whose writes count as steps.
struct Observed<'f> {
    file: &'f mut File,
    before: &'f mut dyn FnMut(Operation) -> io::Result<()>,
}

impl Write for Observed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.before)(Operation::Write)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests;
