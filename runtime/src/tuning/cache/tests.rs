use std::process::{Command, Stdio};
use std::thread;

use super::*;

const DIRECT: Convolution = Convolution::Direct;
const WINOGRAD: Convolution = Convolution::Winograd(4);

fn entries(of: &[(&str, Convolution)]) -> Entries {
    of.iter().map(|&(key, algorithm)| (key.to_owned(), algorithm)).collect()
}

/// The contents of a readable file.
#[track_caller]
fn known(cache: &Cache, cpu: &str) -> Entries {
    let (entries, problem) = cache.load(cpu);
    assert!(problem.is_none(), "{problem:?}");
    entries
}

#[test]
fn keeps_what_is_added_for_each_cpu() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path().join("made/on the way/tuning.json"));
    assert_eq!(known(&cache, "A"), Entries::new());
    cache.add("A", &entries(&[("c1", DIRECT), ("c2", DIRECT)])).unwrap();
    cache.add("B", &entries(&[("c1", WINOGRAD)])).unwrap();
    cache.add("A", &entries(&[("c2", WINOGRAD), ("c3", DIRECT)])).unwrap();
    assert_eq!(known(&cache, "A"), entries(&[("c1", DIRECT), ("c2", WINOGRAD), ("c3", DIRECT)]));
    assert_eq!(known(&cache, "B"), entries(&[("c1", WINOGRAD)]));
    assert_eq!(known(&cache, "C"), Entries::new());
}

#[test]
fn nowhere_keeps_nothing() {
    let cache = Cache::none();
    cache.add("A", &entries(&[("c1", DIRECT)])).unwrap();
    assert_eq!((known(&cache, "A"), cache.path()), (Entries::new(), None));
}

/// Every unreadable file is reported, counts as empty, and is replaced.
#[test]
fn files_that_hold_no_measurements_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    let cache = Cache::at(&path);
    cache.add("A", &entries(&[("c1", DIRECT), ("c2", WINOGRAD)])).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let mut broken: Vec<Vec<u8>> = vec![
        b"not JSON".to_vec(),
        b"[]".to_vec(),
        b"{\"format\": 1}".to_vec(),
        vec![0xff; 100],
        vec![b' '; MAX_BYTES as usize + 1],
        whole.replace("direct", "indirect").into_bytes(),
        whole.replace("\"machines\"", "\"engines\"").into_bytes(),
    ];
    let end = whole.trim_end().len();
    broken.extend((0..end).step_by(7).map(|length| whole.as_bytes()[..length].to_vec()));
    for contents in broken {
        fs::write(&path, &contents).unwrap();
        let (entries_read, problem) = cache.load("A");
        let text = String::from_utf8_lossy(&contents[..contents.len().min(200)]).into_owned();
        assert!(matches!(problem, Some(CacheProblem::Malformed { .. })), "{text}: {problem:?}");
        assert!(entries_read.is_empty());
        cache.add("A", &entries(&[("c3", DIRECT)])).unwrap();
        assert_eq!(known(&cache, "A"), entries(&[("c3", DIRECT)]), "{text}");
    }
}

#[test]
fn files_of_other_versions_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    let cache = Cache::at(&path);
    // Even if the rest has another form.
    for text in [
        format!(r#"{{"format": 3, "windlass": "{VERSION}", "machines": 7}}"#),
        r#"{"format": 2, "windlass": "0.0.1", "machines": {"A": {"c1": "direct"}}}"#.to_owned(),
    ] {
        fs::write(&path, text).unwrap();
        let (read, problem) = cache.load("A");
        let Some(CacheProblem::Version { got, expected, .. }) = &problem else { panic!("{problem:?}") };
        assert_ne!(got, expected);
        assert!(read.is_empty());
        cache.add("A", &entries(&[("c3", DIRECT)])).unwrap();
        assert_eq!(known(&cache, "A"), entries(&[("c3", DIRECT)]));
    }
}

#[test]
fn what_is_no_file_is_told_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "of another").unwrap();
    for path in [directory.path().to_owned(), file.join("tuning.json")] {
        let cache = Cache::at(&path);
        let (read, problem) = cache.load("A");
        assert!(matches!(problem, Some(CacheProblem::Io { action: "read", .. })), "{problem:?}");
        assert!(read.is_empty());
        let added = cache.add("A", &entries(&[("c1", DIRECT)]));
        assert!(matches!(added, Err(CacheProblem::Io { .. })), "{added:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "of another");
    assert!(directory.path().is_dir());
}

/// Nobody can create files in the system's `/proc`.
#[test]
#[cfg(target_os = "linux")]
fn directories_that_cannot_be_written_are_told() {
    for path in ["/proc/tuning.json", "/proc/windlass/tuning.json"] {
        let cache = Cache::at(path);
        assert_eq!(known(&cache, "A"), Entries::new());
        let added = cache.add("A", &entries(&[("c1", DIRECT)]));
        assert!(matches!(added, Err(CacheProblem::Io { .. })), "{added:?}");
    }
}

/// A file in a read-only directory can be read, and is reported as not stored.
#[test]
#[cfg(unix)]
fn read_only_directories_can_be_read() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path().join("tuning.json"));
    cache.add("A", &entries(&[("c1", DIRECT)])).unwrap();
    fs::remove_file(directory.path().join("tuning.json.lock")).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let may_write = File::create(directory.path().join("probe")).is_ok();
    let added = cache.add("A", &entries(&[("c2", DIRECT)]));
    // A privileged user may write there too.
    assert_eq!(added.is_ok(), may_write, "{added:?}");
    assert_eq!(known(&cache, "A").len(), if may_write { 2 } else { 1 });
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_lock_that_is_held_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    let held = lock(&path, PATIENCE).unwrap();
    let second = lock(&path, Duration::from_millis(10));
    assert!(matches!(second, Err(CacheProblem::Locked { .. })), "{second:?}");
    drop(held);
    lock(&path, PATIENCE).unwrap();
}

/// Adds `count` entries of `writer`, one at a time.
fn add_each(cache: &Cache, writer: usize, count: usize) {
    for entry in 0..count {
        cache.add("A", &entries(&[(&format!("{writer}.{entry}"), WINOGRAD)])).unwrap();
        // The file is complete at any time, with everything that this writer has added.
        let known = known(cache, "A");
        assert!((0..=entry).all(|entry| known.contains_key(&format!("{writer}.{entry}"))));
    }
}

#[test]
fn threads_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path().join("tuning.json"));
    thread::scope(|scope| {
        for writer in 0..6 {
            let cache = &cache;
            scope.spawn(move || add_each(cache, writer, 8));
        }
    });
    assert_eq!(known(&cache, "A").len(), 6 * 8);
}

/// Name a process's file and number; unset in the test itself.
const PATH_VARIABLE: &str = "WINDLASS_TEST_TUNING";
const WRITER_VARIABLE: &str = "WINDLASS_TEST_TUNING_WRITER";

#[test]
fn processes_lose_nothing() {
    if let (Some(path), Ok(writer)) = (std::env::var_os(PATH_VARIABLE), std::env::var(WRITER_VARIABLE)) {
        return add_each(&Cache::at(path), writer.parse().unwrap(), 8);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    let start = |writer: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tuning::cache::tests::processes_lose_nothing"])
            .env(PATH_VARIABLE, &path)
            .env(WRITER_VARIABLE, writer.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(known(&Cache::at(&path), "A").len(), 4 * 8);
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the file and its lock, not {left:?}");
}
