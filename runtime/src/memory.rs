//! The memory that a compiled network takes, known before it runs.

use std::fmt;

use windlass_compiler::plan::{Plan, Size, SlotKind};
use windlass_compiler::shape::Sizes;

/// Bytes that a compiled network takes for runs with one batch size. It prints as a line, in MiB.
///
/// Inputs and outputs belong to the caller and do not count, nor do the code and its metadata, which do not grow with
/// the batch. Concurrent runs each take [`MemoryReport::run`], which is then kept for later ones; runs with larger
/// batches keep more. Memory of 4 MiB and more is in pages of up to 2 MiB, the last of which may be partly used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// Samples in each run.
    pub batch: usize,
    /// Threads of each run.
    pub threads: usize,
    /// Parameters and states as declared; in training also those of the optimiser.
    pub parameters: usize,
    /// Constants, and values computed only from parameters, such as packed weights.
    pub prepacked: usize,
    /// The intermediates of these values, which exist only while they are computed: before the first run, and after
    /// parameters have changed.
    pub prepacking: usize,
    /// Values whose size depends on the batch or on other open sizes.
    pub batched: usize,
    /// Values of fixed size in each run; in training mainly gradients of parameters.
    pub fixed: usize,
    /// Scratch of all threads.
    pub scratch: usize,
}

impl MemoryReport {
    /// The memory of a plan, with all parameters and states that its kernels read. It saturates.
    pub fn of(plan: &Plan, sizes: &Sizes) -> Self {
        let mut values = Vec::new();
        plan.sizes.values_into(sizes, &mut values);
        let parameters = plan.slots.iter().filter(|slot| slot.kind == SlotKind::Parameter);
        let memory = &plan.memory;
        MemoryReport {
            batch: sizes.batch(),
            threads: plan.threads,
            parameters: parameters.map(|slot| bytes(slot.size, &values)).fold(0, usize::saturating_add),
            prepacked: 4 * memory.prepacked,
            prepacking: 4 * memory.prepacking,
            batched: memory.open_words(&values).fold(0, usize::saturating_add).saturating_mul(4),
            fixed: 4 * memory.fixed,
            scratch: 4 * memory.scratch * plan.threads,
        }
    }

    /// Memory that is held between runs.
    pub fn held(&self) -> usize {
        self.parameters + self.prepacked
    }

    /// The additional memory of one run.
    pub fn run(&self) -> usize {
        self.batched.saturating_add(self.fixed + self.scratch)
    }

    /// The maximum held at any time, with one run at a time: the first run holds its own memory while it prepacks.
    pub fn peak(&self) -> usize {
        self.run().saturating_add(self.held() + self.prepacking)
    }
}

/// Bytes of a buffer, at the values of the plan's open sizes.
pub(crate) fn bytes(size: Size, values: &[usize]) -> usize {
    size.at(values).unwrap_or(usize::MAX).saturating_mul(4)
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| format!("{:.2}", bytes as f64 / f64::from(1 << 20));
        let parts = [
            ("parameters", self.parameters),
            ("prepacked", self.prepacked),
            ("while prepacking", self.prepacking),
            ("values of the batch", self.batched),
            ("other values", self.fixed),
            ("scratch", self.scratch),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(name, bytes)| format!("{name} {}", mib(*bytes)))
            .collect();
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        write!(
            f,
            "memory for batches of {} on {} {threads}: at most {} MiB",
            self.batch,
            self.threads,
            mib(self.peak())
        )?;
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_a_line_of_what_there_is() {
        let report = MemoryReport {
            batch: 64,
            threads: 2,
            parameters: 3 << 20,
            prepacked: 1 << 19,
            prepacking: 0,
            batched: 64 << 14,
            fixed: 0,
            scratch: 20_000,
        };
        assert_eq!(
            report.to_string(),
            "memory for batches of 64 on 2 threads: at most 4.52 MiB \
             (parameters 3.00, prepacked 0.50, values of the batch 1.00, scratch 0.02)"
        );
        assert_eq!(report.peak(), report.held() + report.run());
    }
}
