//! A range split into blocks of the same size, with a smaller or an overlapping tail.

use super::{KernelDraft, Size};
use crate::faults::{Fault, armed};
use crate::kernel::{Affine, Extent, Stmt, Var};

/// A range split into blocks, with a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedRange {
    /// The number of full blocks.
    pub full: usize,
    /// The size of a full block.
    pub size: usize,
    /// Start and size of the last block, if full blocks leave a remainder.
    pub tail: Option<(usize, usize)>,
}

impl BlockedRange {
    /// Full blocks and a smaller one for the remainder.
    pub fn exact(total: usize, size: usize) -> Self {
        let (full, rest) = (total / size, total % size);
        let has_tail = rest > 0 && !armed(Fault::DroppedTail);
        BlockedRange { full, size, tail: has_tail.then_some((full * size, rest)) }
    }

    /// Blocks of columns for vectors of `lanes`. The last block has the remainder's size rounded up to whole vectors
    /// and ends with the range, so it overlaps the previous block. Every store is then a whole vector, if the range has
    /// that many columns. Only for stores that do not accumulate.
    pub fn overlapping(total: usize, size: usize, lanes: usize) -> Self {
        let mut range = BlockedRange::exact(total, size);
        if let Some((_, rest)) = range.tail {
            let width = rest.next_multiple_of(lanes);
            if width <= total {
                range.tail = Some((total - width, width));
            }
        }
        range
    }

    /// The number of blocks of each size.
    pub fn parts(&self) -> impl Iterator<Item = (usize, usize)> {
        let tail = self.tail.map(|(_, size)| (1, size));
        [(self.full, self.size)].into_iter().filter(|(full, _)| *full > 0).chain(tail)
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.full + usize::from(self.tail.is_some())
    }

    /// Code for every block in turn; `body` gets a block's start and size.
    pub fn sequence(&self, var: Var, mut body: impl FnMut(&Affine, usize) -> Vec<Stmt>) -> Vec<Stmt> {
        let mut stmts = Vec::new();
        match self.full {
            0 => {}
            1 => stmts.extend(body(&Affine::default(), self.size)),
            full => {
                let start = Affine::default().plus(var, self.size);
                stmts.push(Stmt::repeat(var, Extent::Fixed(full), body(&start, self.size)));
            }
        }
        if let Some((start, size)) = self.tail {
            stmts.extend(body(&Affine::constant(start), size));
        }
        stmts
    }

    /// Code for the block with the number `var`, which an outer loop counts.
    pub fn branch(&self, var: Var, mut body: impl FnMut(&Affine, usize) -> Vec<Stmt>) -> Vec<Stmt> {
        let start = Affine::default().plus(var, self.size);
        let early = usize::from(self.full > 0 && armed(Fault::OverlappingBlocks));
        match self.tail.map(|(tail, size)| (tail - early, size + early)) {
            None => body(&start, self.size),
            Some((tail, size)) if self.full == 0 => body(&Affine::constant(tail), size),
            Some((tail, size)) => vec![Stmt::Branch {
                value: var.into(),
                bound: self.full as i64,
                below: body(&start, self.size),
                rest: body(&Affine::constant(tail), size),
            }],
        }
    }
}

/// Code for all indices below a size, in blocks of `block` indices as far as they fit; `body` gets a block's start and
/// its number of indices. A fixed rest is one block; an open one consists of smaller blocks, whose sizes are few.
pub fn in_blocks(
    draft: &mut KernelDraft,
    total: Size,
    block: usize,
    body: impl FnMut(&mut KernelDraft, &Affine, usize) -> Vec<Stmt>,
) -> Vec<Stmt> {
    let smaller = (2..=4).rev().find(|size| block > *size && block.is_multiple_of(*size));
    let sizes: Vec<usize> = [(block > 1).then_some(block), smaller, Some(1)].into_iter().flatten().collect();
    in_blocks_of(draft, total, &sizes, body)
}

/// Like [`in_blocks`], for given sizes of blocks. Each size divides the one before it; if the size is open, the last one
/// is 1. A fixed size only has blocks of the first size, and a rest.
pub fn in_blocks_of(
    draft: &mut KernelDraft,
    total: Size,
    sizes: &[usize],
    mut body: impl FnMut(&mut KernelDraft, &Affine, usize) -> Vec<Stmt>,
) -> Vec<Stmt> {
    let Some(size) = total.open else {
        let var = draft.var();
        return BlockedRange::exact(total.elements, sizes[0])
            .sequence(var, |start, size| body(draft, start, size));
    };
    // Each size divides the one before it, so that every loop starts where the one before it ends.
    let mut start = Extent::Fixed(0);
    let mut stmts = Vec::new();
    for &block in sizes {
        let var = draft.var();
        let end = match block {
            1 => total.extent(),
            multiple => Extent::Floor { size, times: total.elements, multiple },
        };
        stmts.push(Stmt::For { var, start, end, step: block, body: body(draft, &Affine::from(var), block) });
        start = end;
    }
    stmts
}

#[cfg(test)]
mod tests {
    use super::BlockedRange;

    #[test]
    fn ranges() {
        assert_eq!(BlockedRange::exact(12, 4), BlockedRange { full: 3, size: 4, tail: None });
        assert_eq!(BlockedRange::exact(10, 4).tail, Some((8, 2)));
        assert_eq!(BlockedRange::overlapping(10, 4, 4).tail, Some((6, 4)));
        assert_eq!(BlockedRange::overlapping(29, 12, 4).tail, Some((21, 8)));
        assert_eq!(BlockedRange::overlapping(3, 12, 4).tail, Some((0, 3)));
        assert_eq!(BlockedRange::overlapping(13, 12, 4).blocks(), 2);
    }
}
