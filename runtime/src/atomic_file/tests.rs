//! The state after a write fails, or the process ends, at each of its steps; links and permissions.

use std::process::Command;

use tempfile::TempDir;

use super::*;

const OLD: &[u8] = b"old";
/// Larger than a buffer, so that there are several writes.
const NEW_BYTES: usize = 50_000;

fn write_new(path: &Path, before: &mut dyn FnMut(Operation) -> io::Result<()>) -> io::Result<()> {
    write_observed(path, before, |writer| {
        (0..NEW_BYTES / 1000).try_for_each(|_| writer.write_all(&[7; 1000]))
    })
}

/// Whether the file has the new content; panics if it is neither the old nor the new one.
fn is_new(path: &Path) -> bool {
    let content = fs::read(path).unwrap();
    assert!(content == OLD || content == [7; NEW_BYTES], "{} bytes", content.len());
    content != OLD
}

/// A directory with a file to replace.
fn old_file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    fs::write(&path, OLD).unwrap();
    (directory, path)
}

fn count(directory: &TempDir) -> usize {
    fs::read_dir(directory.path()).unwrap().count()
}

#[test]
fn a_failure_at_any_operation_leaves_a_whole_file_and_nothing_else() {
    let mut seen = Vec::new();
    for failing in 0.. {
        let (directory, path) = old_file();
        let mut done = Vec::new();
        let result = write_new(&path, &mut |operation| {
            done.push(operation);
            if done.len() > failing { Err(io::Error::other("the disk is full")) } else { Ok(()) }
        });
        assert_eq!(count(&directory), 1, "{done:?}");
        if result.is_ok() {
            assert!(is_new(&path));
            seen = done;
            break;
        }
        assert_eq!(result.unwrap_err().to_string(), "the disk is full");
        assert_eq!(is_new(&path), done.last() == Some(&Operation::SyncDirectory), "{done:?}");
    }
    use Operation::{Create, Rename, SetPermissions, Sync, SyncDirectory, Write};
    let writes = seen.iter().filter(|operation| **operation == Write).count();
    assert!(writes > 3, "{seen:?}");
    seen.dedup();
    assert_eq!(seen, [Create, SetPermissions, Write, Sync, Rename, SyncDirectory]);
}

/// The file, and the step before which the process ends; unset in the test itself.
const PATH_VARIABLE: &str = "WINDLASS_TEST_ATOMIC_FILE";
const OPERATION_VARIABLE: &str = "WINDLASS_TEST_OPERATION";
const ENDED: i32 = 70;

#[test]
fn a_process_that_ends_before_any_operation_leaves_a_whole_file() {
    if let (Some(path), Ok(last)) = (std::env::var_os(PATH_VARIABLE), std::env::var(OPERATION_VARIABLE)) {
        let (mut done, last): (usize, usize) = (0, last.parse().unwrap());
        return write_new(Path::new(&path), &mut |_| {
            if done == last {
                // Ends without dropping anything, so nothing is cleaned up.
                std::process::exit(ENDED);
            }
            done += 1;
            Ok(())
        })
        .unwrap();
    }
    let (mut old, mut new) = (0, 0);
    for last in 0.. {
        let (_directory, path) = old_file();
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "atomic_file::tests::a_process_that_ends_before_any_operation_leaves_a_whole_file",
            ])
            .env(PATH_VARIABLE, &path)
            .env(OPERATION_VARIABLE, last.to_string())
            .output()
            .unwrap()
            .status;
        if is_new(&path) {
            new += 1
        } else {
            old += 1
        }
        match status.code() {
            Some(ENDED) => {}
            Some(0) => break,
            code => panic!("{code:?}"),
        }
    }
    // Before the directory entry is flushed, and at the end.
    assert_eq!(new, 2);
    assert!(old > 7, "{old}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_stay_links() {
    use std::os::unix::fs::symlink;
    let (directory, path) = old_file();
    let elsewhere = tempfile::tempdir().unwrap();
    let (first, second) = (elsewhere.path().join("first"), elsewhere.path().join("second"));
    symlink("second", &first).unwrap();
    symlink(&path, &second).unwrap();
    write_new(&first, &mut |_| Ok(())).unwrap();
    assert!(is_new(&path));
    assert!(fs::symlink_metadata(&first).unwrap().is_symlink());
    assert_eq!((count(&directory), count(&elsewhere)), (1, 2));

    // A dangling link creates its target.
    fs::remove_file(&path).unwrap();
    write_new(&first, &mut |_| Ok(())).unwrap();
    assert!(is_new(&path));

    let round = elsewhere.path().join("round");
    symlink(&round, &round).unwrap();
    let error = write_new(&round, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "too many symbolic links lead on from it");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_never_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    assert!(Command::new("mkfifo").arg(place("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    fs::create_dir(place("folder")).unwrap();
    symlink(place("pipe"), place("link")).unwrap();
    for (name, kind) in [
        ("pipe", "is a device, pipe or socket"),
        ("socket", "is a device, pipe or socket"),
        ("link", "is a device, pipe or socket"),
        ("folder", "is a directory"),
    ] {
        let error = write_new(&place(name), &mut |operation| panic!("{operation:?}")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(kind), "{error}");
    }
    assert!(fs::metadata(place("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(count(&directory), 4);
}

#[cfg(unix)]
#[test]
fn what_is_replaced_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    for mode in [0o600, 0o640, 0o664] {
        let (_directory, path) = old_file();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        write_new(&path, &mut |_| Ok(())).unwrap();
        assert!(is_new(&path));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn directories_that_are_not_there_or_not_to_be_written_are_named() {
    let (directory, path) = old_file();
    let error = write_new(&directory.path().join("nowhere/net"), &mut |_| Ok(())).unwrap_err();
    let nowhere = directory.path().join("nowhere");
    assert_eq!(error.to_string(), format!("the directory `{}` does not exist", nowhere.display()));

    let mut permissions = fs::metadata(directory.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(directory.path(), permissions.clone()).unwrap();
    // A privileged user may write there too.
    let is_allowed = File::create(directory.path().join("probe")).is_ok();
    let result = write_new(&path, &mut |_| Ok(()));
    #[expect(clippy::permissions_set_readonly_false, reason = "for the directory to be removed")]
    permissions.set_readonly(false);
    fs::set_permissions(directory.path(), permissions).unwrap();
    assert_eq!(result.is_ok(), is_allowed);
    assert_eq!(is_new(&path), is_allowed);
    let refused =
        io::Error::new(io::ErrorKind::PermissionDenied, "Permission denied at path \"/x/.net.partial\"");
    let error = cannot_create(Path::new("/x"), &refused);
    assert_eq!(error.to_string(), "no file can be made in `/x`: Permission denied");
}
