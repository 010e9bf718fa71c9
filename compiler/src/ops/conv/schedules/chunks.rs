//! Divides the reduction of a tile into chunks, whose sums are added up in the results.

use crate::kernel::{Affine, Extent, Reduction, Stmt, Var};
use crate::plan::KernelDraft;

/// A part of a reduction.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Its loops.
    pub(super) loops: Vec<Reduction>,
    /// The offsets of its first elements.
    pub(super) left: Affine,
    pub(super) right: Affine,
    /// Whether no other chunk precedes it.
    pub(super) is_first: bool,
    /// Whether no other chunk follows it.
    pub(super) is_last: bool,
}

/// Chunks that differ only in their offsets.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) chunk: Chunk,
    /// The loops that the offsets refer to, each from a first to a last index.
    loops: Vec<(Var, usize, usize)>,
}

impl Run {
    /// Code for all of its chunks.
    pub(super) fn repeated(&self, body: Vec<Stmt>) -> Vec<Stmt> {
        let around = |body, &(var, start, end): &(Var, usize, usize)| {
            let (start, end) = (Extent::Fixed(start), Extent::Fixed(end));
            vec![Stmt::For { var, start, end, step: 1, body }]
        };
        self.loops.iter().rev().fold(body, around)
    }
}

/// Divides loops into chunks of at most `most` steps, in order: the first chunk, then those between, then the last. The
/// outer loops are those of the chunks, and one loop is divided evenly. All loops are one chunk if that is impossible.
pub(super) fn chunks(draft: &mut KernelDraft, loops: &[Reduction], most: Option<usize>) -> Vec<Run> {
    let whole = Chunk {
        loops: loops.to_vec(),
        left: Affine::default(),
        right: Affine::default(),
        is_first: true,
        is_last: true,
    };
    let Some((outer, pieces, inner)) = most.and_then(|most| divide(loops, most)) else {
        return vec![Run { chunk: whole, loops: Vec::new() }];
    };
    let counts = [outer.0, pieces.0];
    let vars = [draft.var(), draft.var()];
    let at = |strides: [usize; 2]| Affine::default().plus(vars[0], strides[0]).plus(vars[1], strides[1]);
    let run = |outer_range: [usize; 2], range: [usize; 2], is_first, is_last| Run {
        chunk: Chunk {
            loops: inner.clone(),
            left: at([outer.1, pieces.1]),
            right: at([outer.2, pieces.2]),
            is_first,
            is_last,
        },
        loops: vec![(vars[0], outer_range[0], outer_range[1]), (vars[1], range[0], range[1])],
    };
    let [rows, columns] = counts;
    let mut runs = vec![run([0, 1], [0, 1], true, false)];
    match rows {
        1 => runs.push(run([0, 1], [1, columns - 1], false, false)),
        _ => {
            runs.push(run([0, 1], [1, columns], false, false));
            runs.push(run([1, rows - 1], [0, columns], false, false));
            runs.push(run([rows - 1, rows], [0, columns - 1], false, false));
        }
    }
    runs.push(run([rows - 1, rows], [columns - 1, columns], false, true));
    runs.retain(|run| run.loops.iter().all(|(_, start, end)| start < end));
    runs
}

/// A loop of chunks: its count, and the strides of both operands.
type Outer = (usize, usize, usize);

/// Two loops of chunks, and the loops of each chunk. `None` if there is only one chunk, if a size is open, or if a chunk
/// needs more loops around it.
fn divide(loops: &[Reduction], most: usize) -> Option<(Outer, Outer, Vec<Reduction>)> {
    let counts: Vec<usize> = loops.iter().map(|reduction| reduction.count).collect::<Option<_>>()?;
    let (outer, divided, inside) = match loops {
        [divided] => ((1, 0, 0), divided, &loops[1..]),
        [outer, divided, ..] if counts[1..].iter().product::<usize>() > most => {
            ((counts[0], outer.left, outer.right), divided, &loops[2..])
        }
        [divided, ..] => ((1, 0, 0), divided, &loops[1..]),
        [] => return None,
    };
    let count = divided.count?;
    let within: usize = inside.iter().filter_map(|reduction| reduction.count).product();
    // The least number of equal pieces.
    let least = count.div_ceil((most / within).max(1));
    let pieces = (least..=count).find(|pieces| count.is_multiple_of(*pieces))?;
    let size = count / pieces;
    let mut inner = vec![Reduction { count: Some(size), ..*divided }];
    inner.extend_from_slice(inside);
    let is_small = size * within <= most || size == 1;
    let is_worth = outer.0 * pieces > 1 && size * within >= most / 4;
    (is_small && is_worth).then_some((outer, (pieces, size * divided.left, size * divided.right), inner))
}

#[cfg(test)]
mod tests {
    use super::divide;
    use crate::kernel::Reduction;

    fn loops(counts: &[usize]) -> Vec<Reduction> {
        let mut right = 16;
        let mut loops: Vec<Reduction> = Vec::new();
        for &count in counts.iter().rev() {
            loops.insert(0, Reduction { count: Some(count), left: right, right });
            right *= count;
        }
        loops
    }

    /// The number of chunks along both loops, and the steps of each.
    fn divided(counts: &[usize], most: usize) -> Option<([usize; 2], usize)> {
        let (outer, pieces, inner) = divide(&loops(counts), most)?;
        let steps = inner.iter().filter_map(|reduction| reduction.count).product();
        Some(([outer.0, pieces.0], steps))
    }

    #[test]
    fn chunks_are_even_and_cover_all_steps() {
        assert_eq!(divided(&[1024], 256), Some(([1, 4], 256)));
        assert_eq!(divided(&[3, 768], 256), Some(([3, 3], 256)));
        assert_eq!(divided(&[3, 3, 128], 256), Some(([3, 3], 128)));
        assert_eq!(divided(&[9, 20], 256), None, "one chunk");
        assert_eq!(divided(&[1021], 256), None, "a prime number");
        assert_eq!(divided(&[9, 200], 256), Some(([1, 9], 200)));
    }
}
