//! Memory of a program: floats that start at a cache line, in pages of 2 MiB where there are many and the system has such.

use memmap2::MmapMut;

/// One cache line of floats.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;
/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;
/// Memory of so many bytes or more is asked for in large pages: looking up small ones costs as much as the reading.
const LARGE: usize = 2 * LARGE_PAGE;

/// Floats that start at a cache line. What they hold when reserved is not defined, but always some number.
#[derive(Debug, Default)]
pub(super) struct Memory {
    floats: usize,
    lines: Vec<Line>,
    /// Used in place of `lines` where there are many, with the first byte that is.
    pages: Option<(MmapMut, usize)>,
}

impl Memory {
    /// Makes room for so many floats, and for no more; what was there is lost when it grows, so that old and new memory
    /// are never held at once.
    pub(super) fn reserve(&mut self, floats: usize) {
        if floats <= self.floats {
            return;
        }
        *self = Memory::default();
        self.pages = (4 * floats >= LARGE).then(|| large_pages(4 * floats)).flatten();
        if self.pages.is_none() {
            self.lines = vec![Line([0.0; LINE]); floats.div_ceil(LINE)];
        }
        self.floats = floats;
    }

    /// Writes floats at a place within what is reserved.
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

    /// The address of the first float.
    pub(super) fn address(&mut self) -> *mut f32 {
        match &mut self.pages {
            Some((pages, first)) => pages[*first..].as_mut_ptr().cast(),
            None => self.lines.as_mut_ptr().cast(),
        }
    }

    /// The address of the first float, for reading only.
    pub(super) fn address_shared(&self) -> *mut f32 {
        match &self.pages {
            Some((pages, first)) => pages[*first..].as_ptr().cast_mut().cast(),
            None => self.lines.as_ptr().cast_mut().cast(),
        }
    }
}

/// Zeroed memory that starts at a large page; `None` where the system refuses.
fn large_pages(bytes: usize) -> Option<(MmapMut, usize)> {
    let pages = MmapMut::map_anon(bytes + LARGE_PAGE).ok()?;
    let first = pages.as_ptr().align_offset(LARGE_PAGE);
    // A wish, not a need: without large pages it is slower.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some((pages, first))
}

#[cfg(test)]
mod tests {
    use super::{LARGE, LARGE_PAGE, LINE, Memory};

    #[test]
    fn starts_at_a_cache_line_and_keeps_what_is_written() {
        let mut memory = Memory::default();
        memory.reserve(20);
        memory.write(15, &[1.0, 2.0]);
        assert_eq!(memory.address() as usize % 64, 0);
        assert_eq!((memory.lines[0].0[15], memory.lines[1].0[0]), (1.0, 2.0));
        memory.reserve(10);
        assert_eq!(memory.lines[0].0[15], 1.0);
    }

    #[test]
    fn many_floats_start_at_a_large_page() {
        let mut memory = Memory::default();
        let floats = LARGE / 2;
        memory.reserve(floats);
        assert_eq!(memory.address() as usize % 64, 0);
        assert_eq!(memory.address(), memory.address_shared());
        if let Some((pages, first)) = &memory.pages {
            assert_eq!((pages.as_ptr() as usize + first) % LARGE_PAGE, 0);
            assert!(first + 4 * floats <= pages.len());
        }
        memory.write(floats - 2, &[1.0, 2.0]);
        let stored = |memory: &Memory, float: usize| match &memory.pages {
            Some((pages, first)) => f32::from_ne_bytes(pages[first + 4 * float..][..4].try_into().unwrap()),
            None => memory.lines[float / LINE].0[float % LINE],
        };
        assert_eq!((stored(&memory, floats - 2), stored(&memory, floats - 1)), (1.0, 2.0));
    }
}
