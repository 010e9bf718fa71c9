//! Static libraries of one object.

use std::io::{self, Cursor};

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use target_lexicon::{BinaryFormat, Environment, Triple};
use windlass_runtime::object::ObjectFiles;

/// The platform; objects are made for known ones only.
fn triple(target: &str) -> Triple {
    target.parse().unwrap_or_else(|_| Triple::host())
}

/// The name of the file of a library.
pub(crate) fn file_name(library: &str, target: &str) -> String {
    match triple(target).environment {
        Environment::Msvc => format!("{library}.lib"),
        _ => format!("lib{library}.a"),
    }
}

/// A library with the object, and the index of its symbols.
pub(crate) fn of(files: &ObjectFiles, target: &str) -> io::Result<Vec<u8>> {
    let kind = match triple(target).binary_format {
        BinaryFormat::Macho => ArchiveKind::Darwin,
        BinaryFormat::Coff => ArchiveKind::Coff,
        _ => ArchiveKind::Gnu,
    };
    let member = NewArchiveMember::new(&files.object, &DEFAULT_OBJECT_READER, format!("{}.o", files.name));
    let mut archive = Cursor::new(Vec::new());
    write_archive_to_stream(&mut archive, &[member], kind, false, Some(false))?;
    Ok(archive.into_inner())
}
