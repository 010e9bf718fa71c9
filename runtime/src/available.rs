//! The memory that the process can still allocate. Requests that exceed it are refused early: systems overcommit, and
//! kill the process when it touches the memory.

use crate::error::Error;

/// Smaller requests skip the check.
const SMALL: usize = 16 << 20;

/// Refuses a request that exceeds the available memory.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn check(needed: usize, what: impl FnOnce() -> String) -> Result<(), Error> {
    if needed < SMALL {
        return Ok(());
    }
    match tightest() {
        Some((available, limit)) if needed > available => {
            Err(Error::OutOfMemory { what: what(), needed, available: Some(available), limit })
        }
        _ => Ok(()),
    }
}

/// The error for an allocation that the system refused.
pub(crate) fn refused(needed: usize, what: impl FnOnce() -> String) -> Error {
    Error::OutOfMemory { what: what(), needed, available: None, limit: "which the system refused" }
}

/// A vector of zeros, if there is enough memory.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeros<T: Clone + Default>(count: usize, what: impl Fn() -> String) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    grow(&mut values, count, what)?;
    Ok(values)
}

/// Resizes a vector, with zeros where it grows.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn grow<T: Clone + Default>(
    values: &mut Vec<T>,
    count: usize,
    what: impl Fn() -> String,
) -> Result<(), Error> {
    if count > values.capacity() {
        let bytes = count.saturating_mul(size_of::<T>());
        check(bytes, &what)?;
        values.try_reserve_exact(count - values.len()).map_err(|_| refused(bytes, &what))?;
    }
    values.resize(count, T::default());
    Ok(())
}

/// The lowest number of bytes that any limit leaves, and that limit.
fn tightest() -> Option<(usize, &'static str)> {
    limits().into_iter().min()
}

#[cfg(not(target_os = "linux"))]
fn limits() -> Vec<(usize, &'static str)> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn limits() -> Vec<(usize, &'static str)> {
    use std::fs::read_to_string;
    let mut limits = Vec::new();
    let mut add = |bytes: Option<usize>, limit| limits.extend(bytes.map(|bytes| (bytes, limit)));
    if let Ok(text) = read_to_string("/proc/meminfo") {
        add(system(&text), "the system has only");
    }
    if let (Ok(text), Ok(status)) = (read_to_string("/proc/self/limits"), read_to_string("/proc/self/status"))
    {
        let left = |limit: &str, used: &str| {
            Some(soft_limit(&text, limit)?.saturating_sub(kibibytes(&status, used)?))
        };
        add(left("Max address space", "VmSize:"), "the limit of address space (`ulimit -v`) leaves only");
        add(left("Max data size", "VmData:"), "the limit of data (`ulimit -d`) leaves only");
    }
    if let Ok(text) = read_to_string("/proc/self/cgroup") {
        add(control_group(&text), "the limit of the control group leaves only");
    }
    limits
}

/// The available memory according to `/proc/meminfo`, including swap.
#[cfg(target_os = "linux")]
fn system(meminfo: &str) -> Option<usize> {
    Some(kibibytes(meminfo, "MemAvailable:")?.saturating_add(kibibytes(meminfo, "SwapFree:").unwrap_or(0)))
}

/// The bytes of a line `Name:   123 kB`.
#[cfg(target_os = "linux")]
fn kibibytes(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// The first number of a line of `/proc/self/limits`; `None` for `unlimited`.
#[cfg(target_os = "linux")]
fn soft_limit(limits: &str, name: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The memory left in the process's control groups. File caches do not count, because they are released on demand.
#[cfg(target_os = "linux")]
fn control_group(groups: &str) -> Option<usize> {
    use std::path::Path;
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let left = |directory: &Path, limit: &str, used: &str, cached: &str| {
        let limit = number(&directory.join(limit))?;
        let used = number(&directory.join(used))?;
        let statistics = std::fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let cached = statistics
            .lines()
            .find_map(|line| line.strip_prefix(cached)?.trim().parse::<usize>().ok())
            .unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    let mut fewest: Option<usize> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, limit, used, cached) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file ",
            )
        } else {
            continue;
        };
        // Each group is subject to the limits of its parents, up to the root; in a container, names may refer to other
        // groups.
        for part in Path::new(group.trim_start_matches('/')).ancestors() {
            let here = left(&Path::new(root).join(part), limit, used, cached);
            fewest = fewest.into_iter().chain(here).min();
        }
    }
    fewest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_s_tables_are_read() {
        let meminfo = "MemTotal:  100 kB\nMemFree:   10 kB\nMemAvailable:     60 kB\nSwapFree:      2 kB\n";
        assert_eq!(system(meminfo), Some(62 * 1024));
        assert_eq!(system("MemTotal:  100 kB\n"), None);
        let limits = "Limit            Soft Limit    Hard Limit    Units\n\
                      Max data size         unlimited    unlimited   bytes\n\
                      Max address space     4096000      unlimited   bytes\n";
        assert_eq!(soft_limit(limits, "Max address space"), Some(4_096_000));
        assert_eq!(soft_limit(limits, "Max data size"), None);
        // This system reports its limits.
        let (bytes, limit) = tightest().expect("Linux says what there is");
        assert!(bytes > 0 && !limit.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_figures() {
        let what = || "a test".to_owned();
        check(SMALL - 1, what).unwrap();
        let error = zeros::<f32>(usize::MAX / 8, what).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { needed, .. } if needed == usize::MAX / 8 * 4));
        assert!(error.to_string().starts_with("a test needs "), "{error}");
        assert_eq!(zeros::<f32>(3, what).unwrap(), [0.0; 3]);
        assert_eq!(
            Error::OutOfMemory {
                what: what(),
                needed: 3 << 20,
                available: Some(1 << 20),
                limit: "the system has only"
            }
            .to_string(),
            "a test needs 3.0 MiB of memory, but the system has only 1.0 MiB; take a smaller batch or network"
        );
        assert_eq!(
            refused(3 << 20, what).to_string(),
            "a test needs 3.0 MiB of memory, which the system refused; take a smaller batch or network"
        );
    }
}
