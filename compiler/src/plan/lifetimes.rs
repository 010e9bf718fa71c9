//! When each buffer of the arenas is in use, for those who look at the memory of a run.

use std::ops::RangeInclusive;

use super::memory::lives;
use super::{Location, Plan};
use crate::kernel::BufferId;

/// The kernels of a run during which a buffer of an arena holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The buffer, an index into [`Plan::buffers`].
    pub buffer: BufferId,
    /// From the first kernel that accesses it to the last, as indices into [`Plan::run`].
    pub kernels: RangeInclusive<usize>,
}

impl Plan {
    /// The lifetimes of all buffers in the arenas of a run, in the order of [`Plan::buffers`]. Buffers whose lifetimes overlap
    /// have different memory; what a loop and kernels outside it access lives as long as the whole loop.
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, Layer};
    ///
    /// let mut builder = Builder::new("net");
    /// let x = builder.input("x", &[4])?;
    /// let hidden = builder.layer("f1", &Layer::linear(8), x)?;
    /// let y = builder.layer("f2", &Layer::linear(2), hidden)?;
    /// builder.output("y", y)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(0)?;
    ///
    /// // The first layer writes the hidden values, the second one reads them.
    /// let lifetimes = model.program().plan().lifetimes();
    /// assert_eq!(lifetimes.len(), 1);
    /// assert_eq!(lifetimes[0].kernels, 0..=1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lifetimes(&self) -> Vec<Lifetime> {
        let is_in_an_arena = |location| matches!(location, Location::Open { .. } | Location::Fixed(_));
        let lives = lives(&self.buffers, &self.run, (&self.loops, &self.windows), is_in_an_arena);
        let lifetime = |(buffer, first, last)| Lifetime { buffer: BufferId(buffer), kernels: first..=last };
        lives.into_iter().map(lifetime).collect()
    }
}
