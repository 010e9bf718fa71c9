//! Checks that every address of a kernel lies within its buffer, at every batch size: a fault of a lowering is an error
//! when a graph is compiled, where it would be memory overwritten when it runs.
//!
//! Addresses are affine in the loop variables, and the bounds of these are known except for the batch size N. The least and
//! the greatest address are therefore numbers `fixed + batch·N` with N ≥ 1. Conditions of branches, and the ends of the ranges
//! that threads share, bound sums of variables further; an address that contains such a sum is bounded by the bounds of the
//! sum and of the rest.
//!
//! The bounds are conservative: an address outside its buffer is always found. Prefetches and code behind branches that are
//! never taken access nothing and are not checked.

use super::{Buffer, Size};
use crate::kernel::{
    Address, Affine, BufferId, Element, Extent, Form, Kernel, Map, Split, Stmt, Tile, TileCall, TileStep, Var,
};

/// A number that depends on the batch size: `fixed + batch·N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) fixed: i128,
    pub(super) batch: i128,
}

impl Count {
    fn fixed(fixed: usize) -> Self {
        Count { fixed: fixed as i128, batch: 0 }
    }

    pub(super) fn plus(self, other: Count) -> Self {
        Count { fixed: self.fixed + other.fixed, batch: self.batch + other.batch }
    }

    pub(super) fn times(self, factor: i64) -> Self {
        Count { fixed: self.fixed * i128::from(factor), batch: self.batch * i128::from(factor) }
    }

    /// Whether it is below another number at every batch size.
    pub(super) fn is_below(self, other: Count) -> bool {
        Count { fixed: self.fixed + 1, ..self }.is_at_most(other)
    }

    /// Whether it is another number or less at every batch size.
    pub(super) fn is_at_most(self, other: Count) -> bool {
        let (fixed, batch) = (other.fixed - self.fixed, other.batch - self.batch);
        // At N = 1, and ever after.
        fixed + batch >= 0 && batch >= 0
    }
}

/// The values that something takes, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: Count,
    pub(super) greatest: Count,
}

impl Range {
    /// From 0 to one below a number.
    pub(super) fn below(end: Count) -> Self {
        Range { least: Count::default(), greatest: Count { fixed: end.fixed - 1, ..end } }
    }

    pub(super) fn plus(self, other: Range) -> Self {
        Range { least: self.least.plus(other.least), greatest: self.greatest.plus(other.greatest) }
    }

    pub(super) fn times(self, factor: i64) -> Self {
        let (a, b) = (self.least.times(factor), self.greatest.times(factor));
        if factor < 0 { Range { least: b, greatest: a } } else { Range { least: a, greatest: b } }
    }

    /// Whether there is no value in it, at any batch size.
    pub(super) fn is_empty(self) -> bool {
        self.greatest.is_below(self.least)
    }
}

/// What is known of a sum of variables beside what follows from their ranges; an end may be unknown.
#[derive(Clone, Debug)]
struct Fact {
    sum: Sum,
    least: Option<Count>,
    greatest: Option<Count>,
}

/// A sum of variables times factors, each variable once, and a constant.
#[derive(Clone, Debug, Default)]
struct Sum {
    constant: i128,
    terms: Vec<(Var, i64)>,
}

impl Sum {
    fn of(affine: &Affine) -> Self {
        let mut sum =
            Sum { constant: i128::from(affine.constant), terms: Vec::with_capacity(affine.terms.len()) };
        affine.terms.iter().for_each(|&(var, factor)| sum.add(var, factor));
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
        rest.constant -= other.constant * i128::from(times);
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
/// A sentence naming the kernel, the buffer and what leaves it.
pub(super) fn verify(kernel: &Kernel, buffers: &[Buffer], threads: usize) -> Result<(), String> {
    let mut checker = Checker {
        buffers,
        // After the kernel's own variables one for the elements of a span.
        ranges: vec![Range::default(); kernel.variables + 1],
        span: Var(kernel.variables),
        facts: Vec::new(),
        share: None,
    };
    let named = |reason: String| format!("kernel {}: {reason}", kernel.name);
    if let Some(thread) = kernel.thread {
        checker.ranges[thread.0] = Range::below(Count::fixed(threads));
    }
    checker.body(&kernel.setup).map_err(named)?;
    match &kernel.split {
        Split::Serial => {}
        Split::Axes(axes) => {
            for &(var, extent) in axes {
                checker.ranges[var.0] = Range::below(checker.end(extent));
            }
        }
        Split::Lanes(first, extent) => {
            let whole = checker.end(*extent);
            checker.ranges[first.0] = Range::below(whole);
            checker.share = Some((*first, whole));
        }
    }
    let is_idle = match &kernel.split {
        Split::Axes(axes) => axes.iter().any(|(var, _)| checker.ranges[var.0].is_empty()),
        Split::Lanes(first, _) => checker.ranges[first.0].is_empty(),
        Split::Serial => false,
    };
    if is_idle { Ok(()) } else { checker.body(&kernel.body).map_err(named) }
}

/// Facts that an address is bounded by at once: one for each axis of an image, and that of a thread's share.
const FACTS_TOGETHER: usize = 3;

struct Checker<'b> {
    buffers: &'b [Buffer],
    ranges: Vec<Range>,
    /// Stands for the element of a span.
    span: Var,
    facts: Vec<Fact>,
    /// The first element of a thread's share, and how many elements all shares have.
    share: Option<(Var, Count)>,
}

impl Checker<'_> {
    /// The most that an extent may be.
    fn end(&self, extent: Extent) -> Count {
        match extent {
            Extent::Fixed(count) => Count::fixed(count),
            Extent::Batch(count) => Count { fixed: 0, batch: count as i128 },
            Extent::BatchFloor(_) => Count { fixed: 0, batch: 1 },
            Extent::Share => self.share.map_or(Count::default(), |(_, whole)| whole),
        }
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), String> {
        body.iter().try_for_each(|stmt| match stmt {
            Stmt::For { var, start, end, step, body } => self.repeat(*var, (*start, *end, *step), body),
            Stmt::Branch { value, bound, below, rest } => {
                let bound = Count { fixed: i128::from(*bound), batch: 0 };
                let last = Count { fixed: bound.fixed - 1, batch: 0 };
                self.taken(Fact { sum: Sum::of(value), least: None, greatest: Some(last) }, below)?;
                self.taken(Fact { sum: Sum::of(value), least: Some(bound), greatest: None }, rest)
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
            // Rounded down it may be any number from 0 on.
            Extent::BatchFloor(_) => Count::default(),
            _ => self.end(start),
        };
        let end_count = self.end(end);
        // The last value is below the end by a whole step, where steps come out even.
        let greatest = match (start, end) {
            (Extent::Fixed(first), Extent::Fixed(end)) if end > first => {
                Count::fixed(first + (end - first - 1) / step * step)
            }
            (Extent::Fixed(first) | Extent::BatchFloor(first), Extent::BatchFloor(multiple))
                if multiple.is_multiple_of(step) && first.is_multiple_of(step) =>
            {
                Count { fixed: -(step as i128), ..end_count }
            }
            _ => Count { fixed: end_count.fixed - 1, ..end_count },
        };
        let range = Range { least, greatest };
        let is_share = end == Extent::Share;
        if range.is_empty() && !is_share {
            return Ok(());
        }
        let known = self.facts.len();
        self.ranges[var.0] = range;
        if is_share {
            self.within_share(var);
        }
        let result = self.body(body);
        self.facts.truncate(known);
        result
    }

    /// A variable that counts within a share ends where the share does, and all shares where the whole does.
    fn within_share(&mut self, var: Var) {
        if let Some((first, whole)) = self.share {
            let sum = Sum { constant: 0, terms: vec![(first, 1), (var, 1)] };
            let greatest = Some(Count { fixed: whole.fixed - 1, ..whole });
            self.facts.push(Fact { sum, least: None, greatest });
        }
    }

    /// A body that runs only where something holds.
    fn taken(&mut self, fact: Fact, body: &[Stmt]) -> Result<(), String> {
        if body.is_empty() {
            return Ok(());
        }
        let range = self.range(&fact.sum, 0, FACTS_TOGETHER);
        let never = fact.greatest.is_some_and(|greatest| greatest.is_below(range.least))
            || fact.least.is_some_and(|least| range.greatest.is_below(least));
        if never {
            return Ok(());
        }
        self.facts.push(fact);
        let result = self.body(body);
        self.facts.pop();
        result
    }

    /// The values of a sum, as far as they follow from the ranges of variables.
    fn plain(&self, sum: &Sum) -> Range {
        let constant = Count { fixed: sum.constant, batch: 0 };
        let start = Range { least: constant, greatest: constant };
        sum.terms.iter().fold(start, |range, &(var, factor)| range.plus(self.ranges[var.0].times(factor)))
    }

    /// The values of a sum that follow from the ranges of its variables and from combinations of at most `more` facts, those
    /// before `used` excepted.
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
                if times < 0 { (fact.greatest, fact.least) } else { (fact.least, fact.greatest) };
            if let Some(greatest) = high.map(|high| rest.greatest.plus(high.times(times)))
                && greatest.is_at_most(range.greatest)
            {
                range.greatest = greatest;
            }
            if let Some(least) = low.map(|low| rest.least.plus(low.times(times)))
                && range.least.is_at_most(least)
            {
                range.least = least;
            }
        }
        range
    }

    /// Checks the elements from an address, moved by a variable of a span, and as far beyond as the reach says.
    fn access(
        &self,
        address: &Address,
        span: i64,
        reach: Count,
        element: Element,
        what: &str,
    ) -> Result<(), String> {
        let mut sum = Sum::of(&address.offset);
        if span != 0 {
            sum.add(self.span, span);
        }
        let Range { least, greatest } = self.range(&sum, 0, FACTS_TOGETHER);
        let greatest = greatest.plus(reach);
        let BufferId(index) = address.buffer;
        let Some(buffer) = self.buffers.get(index) else { return Err(format!("b{index} does not exist")) };
        let Size { batched, elements } = buffer.size;
        let elements = (4 / element.bytes() * elements) as i128;
        let size = match batched {
            true => Count { fixed: 0, batch: elements },
            false => Count { fixed: elements, batch: 0 },
        };
        if Count::default().is_at_most(least) && greatest.is_below(size) {
            return Ok(());
        }
        let words = |Count { fixed, batch }: Count| match (fixed, batch) {
            (fixed, 0) => fixed.to_string(),
            (0, batch) => format!("{batch}N"),
            (fixed, batch) => format!("{batch}N {} {}", if fixed < 0 { '-' } else { '+' }, fixed.abs()),
        };
        Err(format!(
            "a {what} meets elements {} to {} of b{index} ({}), which has {}",
            words(least),
            words(greatest),
            buffer.name,
            words(size)
        ))
    }

    /// The distance between the first and the last element of an extent.
    fn reach(&self, extent: Extent, distance: usize) -> Count {
        let count = self.end(extent);
        Count { fixed: count.fixed - 1, ..count }.times(distance as i64)
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
        // Without a step of the reduction neither operand is read.
        let is_read = extents.iter().all(|&extent| !self.end(extent).is_below(Count::fixed(1)));
        if is_read {
            let last_row = (0..tile.rows).map(|row| tile.left_rows.start(row)).max().unwrap_or(0);
            let mut left = Count::fixed(last_row);
            let mut right = Count::fixed(
                (tile.columns - 1) * if tile.form == Form::Broadcast { 1 } else { tile.right_column },
            );
            for (reduction, &extent) in tile.reduction.iter().zip(&extents) {
                left = left.plus(self.reach(extent, reduction.left));
                right = right.plus(self.reach(extent, reduction.right));
            }
            self.access(&call.left, 0, left, Element::F32, "tile's left operand")?;
            self.access(&call.right, 0, right, Element::F32, "tile's right operand")?;
        }
        let block = |rows: usize, row: usize| Count::fixed((rows - 1) * row + tile.columns - 1);
        let stored = block(tile.stored_rows(), tile.output_row);
        self.access(&call.output, 0, stored, Element::F32, "tile's result")?;
        let takers = tile.epilogue.iter().filter(|step| step.takes_operand());
        takers.zip(&call.operands).try_for_each(|(step, operand)| {
            let reach = match step {
                TileStep::AddPerRow => Count::fixed(tile.rows - 1),
                TileStep::AddPerColumn => Count::fixed(tile.columns - 1),
                TileStep::AddElement { row } => block(tile.rows, *row),
                TileStep::MultiplyNumber
                | TileStep::Negate
                | TileStep::Relu
                | TileStep::Sigmoid
                | TileStep::Tanh
                | TileStep::Pool(_) => Count::default(),
            };
            self.access(operand, 0, reach, Element::F32, "tile's epilogue")
        })
    }

    fn map(&mut self, map: &Map) -> Result<(), String> {
        let lanes = self.end(map.lanes);
        if lanes.is_below(Count::fixed(1)) && map.lanes != Extent::Share {
            return Ok(());
        }
        let known = self.facts.len();
        self.ranges[self.span.0] = Range::below(lanes);
        if map.lanes == Extent::Share {
            self.within_share(self.span);
        }
        let result = self.map_accesses(map);
        self.facts.truncate(known);
        result
    }

    fn map_accesses(&self, map: &Map) -> Result<(), String> {
        let is_read = map.window.iter().all(|&extent| !self.end(extent).is_below(Count::fixed(1)));
        for load in map.loads.iter().filter(|_| is_read || map.window.is_empty()) {
            let steps = map.window.iter().zip(&load.window);
            let mut reach = steps.fold(Count::default(), |reach, (&extent, &distance)| {
                reach.plus(self.reach(extent, distance))
            });
            // Groups of lanes that share an element: fixed numbers of lanes, or groups that shares keep whole.
            let span = match (load.repeat, map.lanes) {
                (0 | 1, _) => load.lane as i64,
                (repeat, Extent::Fixed(lanes)) => {
                    reach = reach.plus(Count::fixed(lanes.saturating_sub(1) / repeat * load.lane));
                    0
                }
                _ => 0,
            };
            self.access(&load.address, span, reach, load.element, "load")?;
        }
        map.stores.iter().try_for_each(|store| {
            let span = if matches!(map.fold, crate::kernel::Fold::Lanes(_)) { 0 } else { store.lane as i64 };
            self.access(&store.address, span, Count::default(), store.element, "store")
        })
    }
}

#[cfg(test)]
mod tests;
