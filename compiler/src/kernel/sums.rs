//! How sums are computed: in blocks, whose sums are added with compensation.
//!
//! An accumulator of [`Reducer::Sum`](super::Reducer::Sum) takes at most [`SUM_BLOCK`] terms (a few more at the end of
//! a span) in plain `f32` additions. Its sum is then added exactly (Knuth's two-sum) to a pair of numbers: the sum of
//! all blocks and the rounding error so far. The pair is added up at the end. A map with no more terms than one block
//! uses plain additions only.
//!
//! With `u = 2⁻²⁴`, a sum of terms `xᵢ` on vectors of `L` lanes in `S` accumulators has an error of at most about
//! `(SUM_BLOCK + log₂ L + log₂ S + 3) · u · Σ|xᵢ|`, for any number of terms. If a sum overflows, its compensation is
//! not finite and is left out: the result is that of plain additions.

/// The maximum number of terms an accumulator takes before its sum is added to the total.
pub const SUM_BLOCK: usize = 64;

/// Block boundaries of a sum: every `turns` iterations of one of its loops, counted from its end. So the first block has
/// the remainder, and all code rounds long sums alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumBlocks {
    /// The loop, counted from the outermost.
    pub depth: usize,
    /// Iterations per block: a power of two, so that a loop need not count blocks separately.
    pub turns: usize,
}

impl SumBlocks {
    /// The blocks of a sum over nested loops, outermost first, with these iteration counts (`None`: not known at
    /// compile time). `None` if all terms fit one block.
    pub fn of(counts: &[Option<usize>]) -> Option<Self> {
        let mut terms = 1usize;
        for (depth, count) in counts.iter().enumerate().rev() {
            match count.and_then(|count| terms.checked_mul(count)) {
                Some(more) if more <= SUM_BLOCK => terms = more,
                _ => return Some(SumBlocks { depth, turns: 1 << (SUM_BLOCK / terms.max(1)).ilog2() }),
            }
        }
        None
    }

    /// The steps of a block when the loops are unrolled, counted over all of `counts`.
    pub fn steps(self, counts: &[usize]) -> usize {
        counts[self.depth + 1..].iter().product::<usize>() * self.turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_in_the_outermost_loop_that_has_room() {
        let blocks = |counts: &[Option<usize>]| SumBlocks::of(counts).map(|it| (it.depth, it.turns));
        assert_eq!(blocks(&[]), None);
        assert_eq!(blocks(&[Some(64)]), None);
        assert_eq!(blocks(&[Some(8), Some(8)]), None);
        assert_eq!(blocks(&[Some(65)]), Some((0, 64)));
        assert_eq!(blocks(&[None]), Some((0, 64)));
        assert_eq!(blocks(&[Some(28), Some(28)]), Some((0, 2)));
        assert_eq!(blocks(&[None, Some(49)]), Some((0, 1)));
        assert_eq!(blocks(&[None, Some(3), Some(7)]), Some((0, 2)));
        assert_eq!(blocks(&[None, Some(100), Some(3)]), Some((1, 16)));
        assert_eq!(blocks(&[Some(3), None]), Some((1, 64)));
        assert_eq!(blocks(&[Some(usize::MAX), Some(64)]), Some((0, 1)));
        assert_eq!(SumBlocks { depth: 0, turns: 2 }.steps(&[28, 28]), 56);
    }
}
