//! Checks that every address of a kernel lies within its buffer for all values of the open sizes. A wrong lowering is
//! therefore a compile error instead of a memory error at run time.
//!
//! Addresses are affine in the loop variables, and the bounds of these variables are known except for the open sizes.
//! The minimum and maximum address are therefore polynomials of the open sizes, each of which is at least 1. Branch
//! conditions, and the ends of the threads' chunks, bound sums of variables further; an address that contains such a
//! sum is bounded by the bounds of the sum and of the remaining terms.
//!
//! The check is conservative: it always finds an address outside its buffer. It skips prefetches and branches that are
//! never taken, since they access no memory.

mod count;

pub(super) use count::{Count, Range};

use super::{Buffer, OpenSizes, Size};
use crate::kernel::{
    Address, Affine, BufferId, Element, Extent, Form, Kernel, Map, SizeId, Split, Stmt, Tile, TileCall,
    TileStep, Var,
};

/// The known bounds of a sum of variables, beyond those of their ranges; each end may be unknown.
#[derive(Clone, Debug)]
struct Fact {
    sum: Sum,
    least: Option<Count>,
    greatest: Option<Count>,
}

/// A sum of variables times factors, with each variable once, of variables times sizes, and a constant.
#[derive(Clone, Debug, Default)]
struct Sum {
    constant: Count,
    terms: Vec<(Var, i64)>,
    open: Vec<(Var, i64, SizeId)>,
}

impl Sum {
    fn of(affine: &Affine, sizes: &[Count]) -> Self {
        let mut sum = Sum {
            constant: Count::number(affine.constant.into()),
            terms: Vec::with_capacity(affine.terms.len()),
            open: Vec::new(),
        };
        affine.terms.iter().for_each(|&(var, factor)| sum.add(var, factor));
        for term in &affine.open {
            match term.var {
                Some(var) => sum.open.push((var, term.factor, term.size)),
                None => {
                    let number = sizes[term.size.index()].times(term.factor.into());
                    sum.constant = sum.constant.plus(&number);
                }
            }
        }
        sum
    }

    fn add(&mut self, var: Var, factor: i64) {
        match self.terms.iter_mut().find(|(known, _)| *known == var) {
            Some((_, known)) => *known += factor,
            None => self.terms.push((var, factor)),
        }
    }

    /// Subtracts a multiple of another sum.
    fn without(&self, other: &Sum, times: i64) -> Self {
        let mut rest = self.clone();
        rest.constant = rest.constant.plus(&other.constant.times(-i128::from(times)));
        rest.open.extend(other.open.iter().map(|&(var, factor, size)| (var, -factor * times, size)));
        other.terms.iter().for_each(|&(var, factor)| rest.add(var, -factor * times));
        rest
    }

    fn factor(&self, var: Var) -> i64 {
        self.terms.iter().find(|(known, _)| *known == var).map_or(0, |(_, factor)| *factor)
    }
}

/// Checks every address of a kernel.
///
/// # Errors
/// A sentence that names the kernel, the buffer and the access outside it.
pub(super) fn verify(
    kernel: &Kernel,
    buffers: &[Buffer],
    sizes: &OpenSizes,
    threads: usize,
) -> Result<(), String> {
    let symbols = sizes.symbols();
    let mut checker = Checker {
        buffers,
        names: sizes,
        sizes: sizes.polynomials().iter().map(|size| Count::of(size, &symbols)).collect(),
        // After the kernel's own variables, one for the elements of a span.
        ranges: vec![Range::default(); kernel.variables + 1],
        span: Var(kernel.variables),
        facts: Vec::new(),
        chunk: None,
    };
    let named = |reason: String| format!("kernel {}: {reason}", kernel.name);
    if let Some(thread) = kernel.thread {
        checker.ranges[thread.0] = Range::below(&Count::fixed(threads));
    }
    checker.body(&kernel.setup).map_err(named)?;
    match &kernel.split {
        Split::Serial => {}
        Split::Axes(axes) => {
            for &(var, extent) in axes {
                checker.ranges[var.0] = Range::below(&checker.end(extent));
            }
        }
        Split::Lanes(first, extent) => {
            let whole = checker.end(*extent);
            checker.ranges[first.0] = Range::below(&whole);
            checker.chunk = Some((*first, whole));
        }
    }
    let is_idle = match &kernel.split {
        Split::Axes(axes) => axes.iter().any(|(var, _)| checker.ranges[var.0].is_empty()),
        Split::Lanes(first, _) => checker.ranges[first.0].is_empty(),
        Split::Serial => false,
    };
    if is_idle { Ok(()) } else { checker.body(&kernel.body).map_err(named) }
}

/// The maximum number of facts that bound an address together: one for each axis of an image, and one for a thread's
/// chunk.
const FACTS_TOGETHER: usize = 3;

struct Checker<'b> {
    buffers: &'b [Buffer],
    names: &'b OpenSizes,
    /// The open sizes of the plan.
    sizes: Vec<Count>,
    ranges: Vec<Range>,
    /// The variable for the element of a span.
    span: Var,
    facts: Vec<Fact>,
    /// The first element of a thread's chunk, and the number of elements of all chunks.
    chunk: Option<(Var, Count)>,
}

impl Checker<'_> {
    /// The maximum of an extent.
    fn end(&self, extent: Extent) -> Count {
        match extent {
            Extent::Fixed(count) => Count::fixed(count),
            Extent::Open(size, times) | Extent::Floor { size, times, .. } => {
                self.sizes[size.index()].times(times as i128)
            }
            Extent::Chunk | Extent::ChunkFloor(_) => {
                self.chunk.as_ref().map_or(Count::default(), |(_, whole)| whole.clone())
            }
        }
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), String> {
        body.iter().try_for_each(|stmt| match stmt {
            Stmt::For { var, start, end, step, body } => self.repeat(*var, (*start, *end, *step), body),
            Stmt::Branch { value, bound, below, rest } => {
                let sum = Sum::of(value, &self.sizes);
                let bound = Count::number((*bound).into());
                let last = bound.plus_number(-1);
                self.taken(Fact { sum: sum.clone(), least: None, greatest: Some(last) }, below)?;
                self.taken(Fact { sum, least: Some(bound), greatest: None }, rest)
            }
            Stmt::Lookup { var, from, bound, found, rest } => {
                self.access(from, 0, &Count::default(), Element::I32, "lookup")?;
                self.ranges[var.0] = Range::below(&Count::fixed(*bound));
                self.body(found)?;
                self.body(rest)
            }
            Stmt::Tile(call) => self.tile(call),
            Stmt::Map(map) => self.map(map),
        })
    }

    fn repeat(
        &mut self,
        var: Var,
        (start, end, step): (Extent, Extent, usize),
        body: &[Stmt],
    ) -> Result<(), String> {
        let least = match start {
            // Rounded down, or of a thread, it may be any number including 0.
            Extent::Floor { .. } | Extent::Chunk | Extent::ChunkFloor(_) => Count::default(),
            Extent::Fixed(_) | Extent::Open(..) => self.end(start),
        };
        let end_count = self.end(end);
        // The last value is a whole step below the end, if the extent is a multiple of the step.
        let greatest = match (start, end) {
            (Extent::Fixed(first), Extent::Fixed(end)) if end > first => {
                Count::fixed(first + (end - first - 1) / step * step)
            }
            (
                Extent::Fixed(first) | Extent::Floor { multiple: first, .. } | Extent::ChunkFloor(first),
                Extent::Floor { multiple, .. } | Extent::ChunkFloor(multiple),
            ) if multiple.is_multiple_of(step) && first.is_multiple_of(step) => {
                end_count.plus_number(-(step as i128))
            }
            _ => end_count.plus_number(-1),
        };
        let range = Range { least, greatest };
        let of_chunk = match end {
            Extent::Chunk => Some(1),
            Extent::ChunkFloor(multiple) if multiple.is_multiple_of(step) => Some(step),
            Extent::ChunkFloor(_) => Some(1),
            _ => None,
        };
        if range.is_empty() && of_chunk.is_none() {
            return Ok(());
        }
        let known = self.facts.len();
        self.ranges[var.0] = range;
        if let Some(step) = of_chunk {
            self.within_chunk(var, step);
        }
        let result = self.body(body);
        self.facts.truncate(known);
        result
    }

    /// A variable that counts within a chunk ends a step before the chunk does, and all chunks end where the whole ends.
    fn within_chunk(&mut self, var: Var, step: usize) {
        if let Some((first, whole)) = &self.chunk {
            let sum = Sum { terms: vec![(*first, 1), (var, 1)], ..Sum::default() };
            let greatest = Some(whole.plus_number(-(step as i128)));
            self.facts.push(Fact { sum, least: None, greatest });
        }
    }

    /// A body that runs only if a fact holds.
    fn taken(&mut self, fact: Fact, body: &[Stmt]) -> Result<(), String> {
        if body.is_empty() {
            return Ok(());
        }
        let range = self.range(&fact.sum, 0, FACTS_TOGETHER);
        let never = fact.greatest.as_ref().is_some_and(|greatest| greatest.is_below(&range.least))
            || fact.least.as_ref().is_some_and(|least| range.greatest.is_below(least));
        if never {
            return Ok(());
        }
        self.facts.push(fact);
        let result = self.body(body);
        self.facts.pop();
        result
    }

    /// The values of a variable according to its range and the facts about it alone.
    fn values(&self, var: Var) -> Range {
        let mut range = self.ranges[var.0].clone();
        let is_alone = |sum: &Sum| sum.terms == [(var, 1)] && sum.open.is_empty();
        for fact in self.facts.iter().filter(|fact| is_alone(&fact.sum)) {
            let within = |end: &Count| end.plus(&fact.sum.constant.times(-1));
            if let Some(greatest) = fact.greatest.as_ref().map(within)
                && greatest.is_at_most(&range.greatest)
            {
                range.greatest = greatest;
            }
            if let Some(least) = fact.least.as_ref().map(within)
                && range.least.is_at_most(&least)
            {
                range.least = least;
            }
        }
        range
    }

    /// The values of a sum according to the ranges of its variables.
    fn plain(&self, sum: &Sum) -> Range {
        let mut range = Range { least: sum.constant.clone(), greatest: sum.constant.clone() };
        for &(var, factor) in &sum.terms {
            range = range.plus(&self.ranges[var.0].times(factor));
        }
        for &(var, factor, size) in &sum.open {
            let values = self.values(var).times_size(&self.sizes[size.index()]);
            range = range.plus(&values.times(factor));
        }
        range
    }

    /// The values of a sum according to the ranges of its variables and combinations of at most `more` facts, except
    /// for those before `used`.
    fn range(&self, sum: &Sum, used: usize, more: usize) -> Range {
        let mut range = self.plain(sum);
        if more == 0 {
            return range;
        }
        for (index, fact) in self.facts.iter().enumerate().skip(used) {
            let Some(&(var, own)) = fact.sum.terms.first() else { continue };
            let factor = sum.factor(var);
            if factor == 0 || own == 0 || factor % own != 0 {
                continue;
            }
            let times = factor / own;
            let rest = self.range(&sum.without(&fact.sum, times), index + 1, more - 1);
            let (low, high) =
                if times < 0 { (&fact.greatest, &fact.least) } else { (&fact.least, &fact.greatest) };
            let times = i128::from(times);
            if let Some(greatest) = high.as_ref().map(|high| rest.greatest.plus(&high.times(times)))
                && greatest.is_at_most(&range.greatest)
            {
                range.greatest = greatest;
            }
            if let Some(least) = low.as_ref().map(|low| rest.least.plus(&low.times(times)))
                && range.least.is_at_most(&least)
            {
                range.least = least;
            }
        }
        range
    }

    /// Checks the elements from an address on, over a span and up to the reach.
    fn access(
        &self,
        address: &Address,
        span: i64,
        reach: &Count,
        element: Element,
        what: &str,
    ) -> Result<(), String> {
        let mut sum = Sum::of(&address.offset, &self.sizes);
        if span != 0 {
            sum.add(self.span, span);
        }
        let Range { least, greatest } = self.range(&sum, 0, FACTS_TOGETHER);
        let greatest = greatest.plus(reach);
        let BufferId(index) = address.buffer;
        let Some(buffer) = self.buffers.get(index) else { return Err(format!("b{index} does not exist")) };
        let Size { open, elements } = buffer.size;
        let elements = Count::fixed(4 / element.bytes() * elements);
        let size = open.map_or(elements.clone(), |size| self.sizes[size.index()].product(&elements));
        if Count::default().is_at_most(&least) && greatest.is_below(&size) {
            return Ok(());
        }
        Err(format!(
            "a {what} accesses elements {} to {} of b{index} ({}), which has {}",
            least.display(self.names),
            greatest.display(self.names),
            buffer.name,
            size.display(self.names)
        ))
    }

    /// The distance between the first and the last element of an extent.
    fn reach(&self, extent: Extent, distance: usize) -> Count {
        self.end(extent).plus_number(-1).times(distance as i128)
    }

    fn tile(&self, call: &TileCall) -> Result<(), String> {
        let tile: &Tile = &call.tile;
        let mut counts = call.counts.iter().copied();
        let extents: Vec<Extent> = tile
            .reduction
            .iter()
            .map(|reduction| {
                reduction.count.map_or_else(|| counts.next().unwrap_or(Extent::Fixed(1)), Extent::Fixed)
            })
            .collect();
        // If the reduction has no steps, neither operand is read.
        let is_read = extents.iter().all(|&extent| !self.end(extent).is_below(&Count::fixed(1)));
        if is_read {
            let last_row = (0..tile.rows).map(|row| tile.left_rows.start(row)).max().unwrap_or(0);
            let mut left = Count::fixed(last_row);
            let mut right = Count::fixed(
                (tile.columns - 1) * if tile.form == Form::OuterProduct { 1 } else { tile.right_column },
            );
            for (reduction, &extent) in tile.reduction.iter().zip(&extents) {
                left = left.plus(&self.reach(extent, reduction.left));
                right = right.plus(&self.reach(extent, reduction.right));
            }
            self.access(&call.left, 0, &left, Element::F32, "tile's left operand")?;
            self.access(&call.right, 0, &right, Element::F32, "tile's right operand")?;
        }
        let block = |rows: usize, row: usize| Count::fixed((rows - 1) * row + tile.columns - 1);
        let stored = block(tile.stored_rows(), tile.output_row);
        self.access(&call.output, 0, &stored, Element::F32, "tile's result")?;
        let takers = tile.epilogue.iter().filter(|step| step.takes_operand());
        takers.zip(&call.operands).try_for_each(|(step, operand)| {
            let reach = match step {
                TileStep::AddPerRow => Count::fixed(tile.rows - 1),
                TileStep::AddPerColumn => Count::fixed(tile.columns - 1),
                TileStep::AddElement { row } => block(tile.rows, *row),
                TileStep::MultiplyScalar | TileStep::Apply(_) | TileStep::Pool(_) => Count::default(),
            };
            self.access(operand, 0, &reach, Element::F32, "tile's epilogue")
        })
    }

    fn map(&mut self, map: &Map) -> Result<(), String> {
        let lanes = self.end(map.lanes);
        if lanes.is_below(&Count::fixed(1)) && map.lanes != Extent::Chunk {
            return Ok(());
        }
        let known = self.facts.len();
        self.ranges[self.span.0] = Range::below(&lanes);
        if map.lanes == Extent::Chunk {
            self.within_chunk(self.span, 1);
        }
        let result = self.map_accesses(map);
        self.facts.truncate(known);
        result
    }

    fn map_accesses(&self, map: &Map) -> Result<(), String> {
        let is_read = map.window.iter().all(|&extent| !self.end(extent).is_below(&Count::fixed(1)));
        for load in map.loads.iter().filter(|_| is_read || map.window.is_empty()) {
            let steps = map.window.iter().zip(&load.window);
            let mut reach = steps.fold(Count::default(), |reach, (&extent, &distance)| {
                reach.plus(&self.reach(extent, distance))
            });
            // Groups of lanes that share an element: fixed numbers of lanes, or groups that chunks do not split.
            let span = match (load.repeat, map.lanes) {
                (0 | 1, _) => load.lane as i64,
                (repeat, Extent::Fixed(lanes)) => {
                    reach = reach.plus(&Count::fixed(lanes.saturating_sub(1) / repeat * load.lane));
                    0
                }
                _ => 0,
            };
            self.access(&load.address, span, &reach, load.element, "load")?;
        }
        map.stores.iter().try_for_each(|store| {
            let span = if matches!(map.fold, crate::kernel::Fold::Lanes(_)) { 0 } else { store.lane as i64 };
            self.access(&store.address, span, &Count::default(), store.element, "store")
        })
    }
}

#[cfg(test)]
mod tests;
