//! Memory of a program: floats aligned to cache lines, in pages of 2 MiB for large sizes where the system supports
//! them.

use memmap2::MmapMut;
use windlass_compiler::abi;

use crate::available;
use crate::error::Error;
use crate::large_pages::{LARGE, LARGE_PAGE};

/// Floats with the alignment of arenas.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = abi::ALIGNMENT_WORDS;
const _: () = assert!(align_of::<Line>() == abi::ALIGNMENT && LARGE_PAGE.is_multiple_of(abi::ALIGNMENT));

/// Floats aligned to a cache line. Their initial contents are unspecified but initialised.
#[derive(Debug, Default)]
pub(super) struct AlignedFloats {
    floats: usize,
    lines: Vec<Line>,
    /// Used instead of `lines` for large sizes, with the offset of the first used byte.
    pages: Option<(MmapMut, usize)>,
}

impl AlignedFloats {
    /// Makes room for exactly this many floats. Growing discards the old contents, so that old and new memory are never
    /// held at once. `what` describes the purpose.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; nothing is held then.
    pub(super) fn reserve(&mut self, floats: usize, what: impl Fn() -> String) -> Result<(), Error> {
        reserve([(self, floats)], what)
    }

    /// Like [`AlignedFloats::reserve`], without checking the available memory.
    fn grow(&mut self, floats: usize, what: impl Fn() -> String) -> Result<(), Error> {
        if floats <= self.floats {
            return Ok(());
        }
        *self = AlignedFloats::default();
        let bytes = floats.saturating_mul(4);
        self.pages = (bytes >= LARGE).then(|| large_pages(bytes)).flatten();
        if self.pages.is_none() {
            let lines = floats.div_ceil(LINE);
            self.lines.try_reserve_exact(lines).map_err(|_| available::refused(bytes, what))?;
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        self.floats = floats;
        Ok(())
    }

    /// Writes floats at an offset within the reserved memory.
    pub(super) fn write(&mut self, offset: usize, values: &[f32]) {
        match &mut self.pages {
            Some((pages, first)) => {
                let start = *first + 4 * offset;
                let bytes: &[u8] = bytemuck::cast_slice(values);
                pages[start..start + bytes.len()].copy_from_slice(bytes);
            }
            None => {
                for (index, &value) in values.iter().enumerate() {
                    let place = offset + index;
                    self.lines[place / LINE].0[place % LINE] = value;
                }
            }
        }
    }

    /// A copy of the first floats of the reserved memory.
    pub(super) fn to_vec(&self, floats: usize) -> Vec<f32> {
        match &self.pages {
            Some((pages, first)) => bytemuck::cast_slice(&pages[*first..*first + 4 * floats]).to_vec(),
            None => self.lines.iter().flat_map(|line| line.0).take(floats).collect(),
        }
    }

    /// The address of the first float.
    pub(super) fn address(&mut self) -> *mut f32 {
        match &mut self.pages {
            Some((pages, first)) => pages[*first..].as_mut_ptr().cast(),
            None => self.lines.as_mut_ptr().cast(),
        }
    }

    /// The address of the first float, for reading.
    pub(super) fn address_shared(&self) -> *mut f32 {
        match &self.pages {
            Some((pages, first)) => pages[*first..].as_ptr().cast_mut().cast(),
            None => self.lines.as_ptr().cast_mut().cast(),
        }
    }
}

/// Reserves several memories at once, like [`AlignedFloats::reserve`]: all of them fit together, or none grows.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(super) fn reserve<'m>(
    memories: impl IntoIterator<Item = (&'m mut AlignedFloats, usize)> + AsRef<[(&'m mut AlignedFloats, usize)]>,
    what: impl Fn() -> String,
) -> Result<(), Error> {
    let grows = |(memory, floats): &(&mut AlignedFloats, usize)| *floats > memory.floats;
    let growing = memories.as_ref().iter().filter(|memory| grows(memory));
    // The memory held now is freed first.
    let (needed, held) = growing.fold((0usize, 0usize), |(needed, held), (memory, floats)| {
        (needed.saturating_add(*floats), held.saturating_add(memory.floats))
    });
    if needed > 0 {
        available::check(needed.saturating_sub(held).saturating_mul(4), &what)?;
    }
    memories.into_iter().try_for_each(|(memory, floats)| memory.grow(floats, &what))
}

/// Zeroed memory aligned to a large page; `None` if the system refuses.
fn large_pages(bytes: usize) -> Option<(MmapMut, usize)> {
    let pages = MmapMut::map_anon(bytes.checked_add(LARGE_PAGE)?).ok()?;
    let first = pages.as_ptr().align_offset(LARGE_PAGE);
    // Only a hint: without large pages, it is slower.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some((pages, first))
}

#[cfg(test)]
mod tests {
    use super::{AlignedFloats, LARGE, LARGE_PAGE, LINE, abi, reserve};
    use crate::error::Error;

    fn nobody() -> String {
        "a test".to_owned()
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_held_stays() {
        let (mut small, mut large) = (AlignedFloats::default(), AlignedFloats::default());
        small.reserve(20, nobody).unwrap();
        small.write(15, &[1.0]);
        for floats in [usize::MAX / 16, usize::MAX / 4, usize::MAX] {
            let error = reserve([(&mut small, 40), (&mut large, floats)], nobody).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
            assert!(error.to_string().starts_with("a test needs "), "{error}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(small.lines[0].0[15], 1.0);
        large.reserve(LARGE, nobody).unwrap();
    }

    #[test]
    fn starts_at_a_cache_line_and_keeps_what_is_written() {
        let mut memory = AlignedFloats::default();
        memory.reserve(20, nobody).unwrap();
        memory.write(15, &[1.0, 2.0]);
        assert_eq!(memory.address() as usize % abi::ALIGNMENT, 0);
        assert_eq!((memory.lines[0].0[15], memory.lines[1].0[0]), (1.0, 2.0));
        memory.reserve(10, nobody).unwrap();
        assert_eq!(memory.lines[0].0[15], 1.0);
    }

    #[test]
    fn many_floats_start_at_a_large_page() {
        let mut memory = AlignedFloats::default();
        let floats = LARGE / 2;
        memory.reserve(floats, nobody).unwrap();
        assert_eq!(memory.address() as usize % abi::ALIGNMENT, 0);
        assert_eq!(memory.address(), memory.address_shared());
        if let Some((pages, first)) = &memory.pages {
            assert_eq!((pages.as_ptr() as usize + first) % LARGE_PAGE, 0);
            assert!(first + 4 * floats <= pages.len());
        }
        memory.write(floats - 2, &[1.0, 2.0]);
        let stored = |memory: &AlignedFloats, float: usize| match &memory.pages {
            Some((pages, first)) => f32::from_ne_bytes(pages[first + 4 * float..][..4].try_into().unwrap()),
            None => memory.lines[float / LINE].0[float % LINE],
        };
        assert_eq!((stored(&memory, floats - 2), stored(&memory, floats - 1)), (1.0, 2.0));
    }
}
