//! The units of work of a kernel, and the chunk of them that each thread runs.

use super::{Extent, Kernel, SizeId, Split};

/// The number of work units of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The constant factor of the number of units.
    pub count: usize,
    /// The open sizes of the plan that are the other factors.
    pub open: Vec<SizeId>,
    /// Chunks are multiples of this many units, except for the last.
    pub grain: usize,
}

impl Units {
    /// The work units of a kernel.
    pub fn of(kernel: &Kernel) -> Self {
        let total = |extents: &mut dyn Iterator<Item = Extent>, grain| {
            let mut units = Units { count: 1, open: Vec::new(), grain };
            for extent in extents {
                match extent {
                    Extent::Fixed(count) => units.count = units.count.saturating_mul(count),
                    Extent::Open(size, times) => {
                        units.count = units.count.saturating_mul(times);
                        units.open.push(size);
                    }
                    Extent::Floor { .. } | Extent::Chunk | Extent::ChunkFloor(_) => {}
                }
            }
            units
        };
        match &kernel.split {
            Split::Serial => total(&mut std::iter::empty(), 1),
            Split::Axes(axes) => total(&mut axes.iter().map(|&(_, extent)| extent), 1),
            // A chunk consists of whole cache lines, so that no two threads write to the same one.
            Split::Lanes(_, extent) => total(&mut std::iter::once(*extent), 16),
        }
    }

    /// The number of units, at the values of the plan's open sizes.
    pub fn total(&self, values: &[usize]) -> usize {
        let of = |size: &SizeId| values.get(size.index()).copied().unwrap_or_default();
        self.open.iter().fold(self.count, |total, size| total.saturating_mul(of(size)))
    }

    /// The chunk of one of several threads, at the values of the plan's open sizes. It is contiguous, and the same for
    /// every run.
    pub fn chunk(&self, values: &[usize], thread: usize, threads: usize) -> (usize, usize) {
        let total = self.total(values);
        let grains = total.div_ceil(self.grain);
        let bound =
            |thread: usize| (grains.saturating_mul(thread) / threads).saturating_mul(self.grain).min(total);
        (bound(thread), bound(thread + 1))
    }
}
