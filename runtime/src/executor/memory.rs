//! Memory of a program: floats that start at a cache line.

/// One cache line of floats.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// Floats that start at a cache line. What they hold when reserved is not defined, but always some number.
#[derive(Debug, Default)]
pub(super) struct Memory {
    lines: Vec<Line>,
}

impl Memory {
    /// Makes room for so many floats; what was there may be lost when it grows.
    pub(super) fn reserve(&mut self, floats: usize) {
        let lines = floats.div_ceil(LINE);
        if lines > self.lines.len() {
            self.lines.clear();
            self.lines.resize(lines, Line([0.0; LINE]));
        }
    }

    /// Writes floats at a place within what is reserved.
    pub(super) fn write(&mut self, offset: usize, values: &[f32]) {
        for (index, &value) in values.iter().enumerate() {
            let place = offset + index;
            self.lines[place / LINE].0[place % LINE] = value;
        }
    }

    /// The address of the first float.
    pub(super) fn address(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }

    /// The address of the first float, for reading only.
    pub(super) fn address_shared(&self) -> *mut f32 {
        self.lines.as_ptr().cast_mut().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

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
}
