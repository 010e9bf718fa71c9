//! Files that are written whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Links followed from one to the next, as the system does.
const MOST_LINKS: usize = 40;

/// What is done to the disk, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The file beside is made.
    Create,
    /// It gets the permissions of the file it is to replace.
    SetPermissions,
    /// A part of the content is written, as often as needed.
    Write,
    /// The content reaches the disk.
    Sync,
    /// The file takes the name.
    Rename,
    /// The name reaches the disk.
    SyncDirectory,
}

/// Writes a file under another name in the same directory, brings it to the disk, and renames it. A symbolic link is
/// followed: what it leads to is replaced, beside itself. What was there keeps its permissions.
///
/// # Errors
/// Those of the system; an error of the kind [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    write_observed(path, &mut |_| Ok(()), write)
}

/// As [`write`]. `before` is called before each operation, which it may refuse.
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
    // Temporary files are for their owner alone by default; this one becomes an ordinary file.
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

/// Where a path leads to behind symbolic links, and what is there; `None` for nothing.
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

/// The system's reason without the name of the file that could not be made, which nobody asked for.
fn cannot_create(directory: &Path, error: &io::Error) -> io::Error {
    let mut reason = error.to_string();
    if let Some((first, _)) = reason.split_once(" at path ") {
        reason.truncate(first.len());
    }
    io::Error::new(error.kind(), format!("no file can be made in `{}`: {reason}", directory.display()))
}

/// A file whose writes are operations.
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
