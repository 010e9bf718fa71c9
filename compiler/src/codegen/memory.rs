//! Memory for a program's code: one mapping, which is writable until the code is finished and executable afterwards,
//! never both.
//!
//! It is a single mapping because functions call each other over 32-bit distances, which separate mappings might
//! exceed.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};
use memmap2::{Mmap, MmapMut};
use wasmtime_jit_icache_coherence::{clear_cache, pipeline_flush_mt};

/// Finished code; unmapped when dropped.
#[derive(Debug)]
pub(super) struct Code(#[expect(dead_code, reason = "keeps the functions where they are")] Mmap);

/// Memory under construction. All handles refer to the same memory; if the last one is dropped before the code is
/// taken, the memory is freed.
#[derive(Clone, Debug, Default)]
pub(super) struct CodeMemory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// Nothing was requested.
    #[default]
    Empty,
    /// The number of bytes to map at the first request.
    Reserved(usize),
    /// The mapping, and how many of its bytes are in use.
    Writable(MmapMut, usize),
    Executable(Mmap),
}

impl CodeMemory {
    /// Sets the maximum number of bytes, before any are requested.
    pub(super) fn reserve(&self, bytes: usize) {
        *self.state() = State::Reserved(bytes);
    }

    /// Takes the finished code; `None` if there are no functions.
    pub(super) fn take(&self) -> Option<Code> {
        match std::mem::take(&mut *self.state()) {
            State::Executable(map) => Some(Code(map)),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JITMemoryProvider for CodeMemory {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if !matches!(kind, JITMemoryKind::Executable) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "programs have no data beside their code",
            ));
        }
        let mut state = self.state();
        if let State::Reserved(bytes) = *state {
            *state = State::Writable(MmapMut::map_anon(bytes)?, 0);
        }
        let State::Writable(map, used) = &mut *state else {
            return Err(io::Error::other(
                "code was added before memory was reserved, or after it was finished",
            ));
        };
        let aligned = usize::try_from(align).ok().and_then(|align| used.checked_next_multiple_of(align));
        let range = aligned.and_then(|start| Some(start..start.checked_add(size)?));
        let Some((end, function)) = range.and_then(|range| Some((range.end, map.get_mut(range)?))) else {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "there is more code than was reserved"));
        };
        *used = end;
        Ok(function.as_mut_ptr())
    }

    unsafe fn free_memory(&mut self) {
        *self.state() = State::Empty;
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        let failed = |error: io::Error| ModuleError::Allocation { err: error };
        let mut state = self.state();
        match std::mem::take(&mut *state) {
            State::Writable(map, _) => {
                fetch_anew(&map).map_err(failed)?;
                *state = State::Executable(map.make_exec().map_err(failed)?);
                Ok(())
            }
            other => {
                *state = other;
                Ok(())
            }
        }
    }
}

/// Makes all cores refetch the written bytes as instructions, on architectures where that is not automatic.
fn fetch_anew(map: &MmapMut) -> io::Result<()> {
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    // SAFETY: the range is that of a live mapping.
    unsafe { clear_cache(map.as_ptr().cast(), map.len()) }.map_err(|error| failed(&error))?;
    pipeline_flush_mt().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};

    use super::CodeMemory;

    /// The permissions of a byte of this process as in `/proc/self/maps`: `rw-p`.
    #[cfg(target_os = "linux")]
    fn permissions(address: usize) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let bound = |text| usize::from_str_radix(text, 16).ok();
            (bound(start)? <= address && address < bound(end)?).then(|| rest[..4].to_owned())
        })
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn is_writable_first_and_executable_after() {
        let memory = CodeMemory::default();
        memory.reserve(10_000);
        let mut provider = memory.clone();
        let first = provider.allocate(100, 64, JITMemoryKind::Executable).unwrap();
        let second = provider.allocate(5_000, 64, JITMemoryKind::Executable).unwrap();
        assert_eq!((first as usize % 64, second as usize - first as usize), (0, 128));
        assert_eq!(permissions(second as usize).unwrap(), "rw-p");
        provider.finalize(BranchProtection::None).unwrap();
        assert_eq!(permissions(first as usize).unwrap(), "r-xp");
        assert_eq!(permissions(second as usize + 4_999).unwrap(), "r-xp");
        assert!(provider.allocate(1, 1, JITMemoryKind::Executable).is_err());
        // The code outlives its builder.
        let code = memory.take().unwrap();
        drop((memory, provider));
        assert_eq!(permissions(first as usize).unwrap(), "r-xp");
        drop(code);
    }

    #[test]
    fn more_than_was_reserved_is_refused() {
        let memory = CodeMemory::default();
        let mut provider = memory.clone();
        assert!(provider.allocate(1, 1, JITMemoryKind::Executable).is_err());
        memory.reserve(200);
        assert!(provider.allocate(100, 64, JITMemoryKind::Executable).is_ok());
        assert!(provider.allocate(100, 64, JITMemoryKind::Executable).is_err());
        assert!(provider.allocate(usize::MAX, 64, JITMemoryKind::Executable).is_err());
        assert!(provider.allocate(72, 64, JITMemoryKind::Executable).is_ok());
        assert!(provider.allocate(8, 8, JITMemoryKind::ReadOnly).is_err());
        assert!(memory.take().is_none(), "nothing is finished");
    }
}
