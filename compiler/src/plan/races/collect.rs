//! Collects the reads and writes of a kernel.

use super::access::{Access, Role, Term, ceil, inner, merged, number};
use crate::kernel::{
    Address, Affine, Element, Extent, Fold, Form, Kernel, Map, Mode, OpenTerm, Split, Start, Stmt, TileCall,
    TileStep, Var,
};
use crate::plan::bounds::{Count, Range};

/// The known values of a variable: `offset + step·t`, with a range of `t`.
#[derive(Clone, Debug)]
struct Known {
    role: Role,
    offset: i128,
    step: i64,
    range: Range,
}

/// A sum of several variables that a branch bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    terms: Vec<(Var, i64)>,
    range: Range,
}

/// A variable of a thread's chunk of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkVar {
    /// The first element.
    First,
    /// The index relative to the first element, from which on this many elements are in the chunk.
    Within(usize),
}

/// What varies the address of an access within a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// The lanes of a thread's chunk.
    Chunk,
    /// Any other loop of the statement.
    Own,
}

/// Collects the accesses of a kernel.
pub(super) struct Collector<'k> {
    kernel: &'k Kernel,
    /// The open sizes of the plan.
    sizes: &'k [Count],
    known: Vec<Option<Known>>,
    /// The first element of a thread's chunk, and the variables that count within it.
    chunks: Vec<(Var, ChunkVar)>,
    whole: Count,
    units: Option<Vec<Range>>,
    /// The last fact is the most precise.
    facts: Vec<Fact>,
    /// Accesses, each with its constants.
    accesses: Vec<(Access, Vec<i128>)>,
}

/// Whether an extent is rounded down to a multiple of a step.
fn is_multiple(extent: Extent, step: usize) -> bool {
    match extent {
        Extent::Floor { multiple, .. } | Extent::ChunkFloor(multiple) => multiple.is_multiple_of(step),
        Extent::Fixed(_) | Extent::Open(..) | Extent::Chunk => false,
    }
}

impl<'k> Collector<'k> {
    /// Every access of a kernel.
    pub(super) fn of(kernel: &'k Kernel, sizes: &'k [Count], threads: usize) -> Vec<Access> {
        let mut collector = Collector {
            kernel,
            sizes,
            known: vec![None; kernel.variables],
            chunks: Vec::new(),
            whole: Count::default(),
            units: None,
            facts: Vec::new(),
            accesses: Vec::new(),
        };
        if let Some(thread) = kernel.thread {
            let range = Range::below(&fixed(threads));
            collector.known[thread.0] = Some(Known { role: Role::Thread, offset: 0, step: 1, range });
        }
        collector.body(&kernel.setup);
        match &kernel.split {
            // A single unit.
            Split::Serial => collector.units = Some(Vec::new()),
            Split::Axes(axes) => {
                for (axis, &(var, extent)) in axes.iter().enumerate() {
                    let range = Range::below(&collector.end(extent));
                    collector.known[var.0] =
                        Some(Known { role: Role::Unit(axis), offset: 0, step: 1, range });
                }
                let ranges = axes.iter().map(|&(_, extent)| Range::below(&collector.end(extent)));
                collector.units = Some(ranges.collect());
            }
            Split::Lanes(var, extent) => {
                collector.whole = collector.end(*extent);
                let range = Range::below(&collector.whole);
                collector.known[var.0] =
                    Some(Known { role: Role::Inner, offset: 0, step: 1, range: range.clone() });
                collector.chunks.push((*var, ChunkVar::First));
                collector.units = Some(vec![range]);
            }
        }
        if !collector.units.iter().flatten().any(|range| range.is_empty()) {
            collector.body(&kernel.body);
        }
        let accesses = collector.accesses.into_iter();
        accesses.map(|(access, constants)| Access { constants, ..access }).collect()
    }

    /// The maximum of an extent.
    fn end(&self, extent: Extent) -> Count {
        match extent {
            Extent::Fixed(count) => fixed(count),
            Extent::Open(size, times) | Extent::Floor { size, times, .. } => {
                self.sizes[size.index()].times(times as i128)
            }
            Extent::Chunk | Extent::ChunkFloor(_) => self.whole.clone(),
        }
    }

    fn body(&mut self, body: &'k [Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, start, end, step, body } => {
                    let (first, last) = (*start, self.end(*end));
                    let known = match first {
                        // The last value is a whole step below the end; the number of steps is no polynomial.
                        Extent::Fixed(0) if is_multiple(*end, *step) => {
                            let range = Range::below(&last.plus_number(1 - *step as i128));
                            Known { role: Role::Inner, offset: 0, step: 1, range }
                        }
                        Extent::Fixed(first) => {
                            let steps = match last.as_number() {
                                Some(end) => {
                                    let steps = (end - first as i128).max(0) as usize;
                                    fixed(steps.div_ceil(*step))
                                }
                                // An upper bound.
                                None => last.plus_number(-(first as i128)),
                            };
                            let range = Range::below(&steps);
                            Known { role: Role::Inner, offset: first as i128, step: *step as i64, range }
                        }
                        _ => {
                            let beyond = if is_multiple(*end, *step) { *step as i128 - 1 } else { 0 };
                            let range = Range::below(&last.plus_number(-beyond));
                            Known { role: Role::Inner, offset: 0, step: 1, range }
                        }
                    };
                    if known.range.is_empty() {
                        continue;
                    }
                    self.known[var.0] = Some(known);
                    let chunks = self.chunks.len();
                    if matches!(end, Extent::Chunk | Extent::ChunkFloor(_)) {
                        let elements = if is_multiple(*end, *step) { *step } else { 1 };
                        self.chunks.push((*var, ChunkVar::Within(elements)));
                    }
                    self.body(body);
                    self.chunks.truncate(chunks);
                }
                Stmt::Branch { value, bound, below, rest } => {
                    self.taken(value, None, Some(bound.saturating_sub(1)), below);
                    self.taken(value, Some(*bound), None, rest);
                }
                Stmt::Lookup { var, from, bound, found, rest } => {
                    self.add(false, Element::I32, from, &[]);
                    // Any thread may find any index.
                    let range = Range::below(&fixed(*bound));
                    self.known[var.0] = Some(Known { role: Role::Inner, offset: 0, step: 1, range });
                    self.body(found);
                    self.body(rest);
                }
                Stmt::Tile(call) => self.tile(call),
                Stmt::Map(map) => self.map(map),
            }
        }
    }

    /// A body that runs only if a sum is within bounds.
    fn taken(&mut self, value: &Affine, least: Option<i64>, greatest: Option<i64>, body: &'k [Stmt]) {
        let beyond = |bound: i64| i128::from(bound) - i128::from(value.constant);
        let (least, greatest) = (least.map(beyond), greatest.map(beyond));
        let terms = summed(&value.terms);
        match terms[..] {
            [(var, factor)] => self.taken_by_one(var, factor, [least, greatest], body),
            _ => {
                let facts = self.facts.len();
                let known =
                    self.facts.iter().rfind(|fact| fact.terms == terms).map(|fact| fact.range.clone());
                if let Some(known) = known.or_else(|| self.range(&terms)) {
                    let range = narrowed(known, [least, greatest]);
                    if range.is_empty() {
                        return;
                    }
                    self.facts.push(Fact { terms, range });
                }
                self.body(body);
                self.facts.truncate(facts);
            }
        }
    }

    /// The values of a sum of variables; `None` for variables of chunks.
    fn range(&self, terms: &[(Var, i64)]) -> Option<Range> {
        terms.iter().try_fold(Range::default(), |range, (var, factor)| {
            let is_of_chunk = self.chunks.iter().any(|(chunk, _)| chunk == var);
            let known = self.known[var.0].as_ref().filter(|_| !is_of_chunk)?;
            let offset = Range { least: number(known.offset), greatest: number(known.offset) };
            Some(range.plus(&offset.plus(&known.range.times(known.step)).times(*factor)))
        })
    }

    /// The same for a single variable times a factor: the variable's range is narrowed.
    fn taken_by_one(&mut self, var: Var, factor: i64, bounds: [Option<i128>; 2], body: &'k [Stmt]) {
        let Some(known) = self.known[var.0].clone() else { return self.body(body) };
        // factor·(offset + step·t) is between the bounds.
        let slope = i128::from(factor) * i128::from(known.step);
        let shift = i128::from(factor) * known.offset;
        let [least, greatest] = bounds.map(|bound| bound.map(|bound| bound - shift));
        let bounds = match slope > 0 {
            true => [least.map(|at| ceil(at, slope)), greatest.map(|at| at.div_euclid(slope))],
            false => [greatest.map(|at| ceil(-at, -slope)), least.map(|at| (-at).div_euclid(-slope))],
        };
        let range = narrowed(known.range.clone(), bounds);
        if range.is_empty() {
            return;
        }
        let units = self.units.clone();
        self.known[var.0] = Some(Known { range: range.clone(), ..known.clone() });
        if let (Role::Unit(axis), Some(units)) = (known.role, &mut self.units) {
            units[axis] = range;
        }
        self.body(body);
        self.known[var.0] = Some(known);
        self.units = units;
    }

    /// Adds an access to the elements at some strides from an address.
    fn add(&mut self, writes: bool, element: Element, address: &Address, distances: &[(Along, i64, Count)]) {
        let mut constant = i128::from(address.offset.constant);
        let mut factors: Vec<(Var, i64)> = Vec::new();
        // An element of the chunk: the stride of the first element, and the strides of the variables relative to it, each
        // with the number of elements from there on that are in the chunk.
        let (mut first, mut within) = (0, Vec::new());
        for (var, factor) in summed(&address.offset.terms) {
            match self.chunks.iter().find(|(chunk, _)| *chunk == var) {
                Some((_, ChunkVar::First)) => first += factor,
                Some((_, ChunkVar::Within(elements))) => within.push((factor, *elements)),
                None => factors.push((var, factor)),
            }
        }
        let mut others: Vec<Term> = self.open_terms(&address.offset.open);
        for (kind, stride, count) in distances {
            match kind {
                Along::Chunk => within.push((*stride, 1)),
                Along::Own => {
                    let is_within = |(along, elements): &&mut (i64, usize)| {
                        along == stride && count.as_number().is_some_and(|count| count <= *elements as i128)
                    };
                    match within.iter_mut().find(is_within) {
                        // Elements of the chunk, as the variable; once for each variable.
                        Some((_, elements)) => *elements = 0,
                        None => others.push(inner(*stride, Range::below(count))),
                    }
                }
            }
        }
        let mut within: Vec<i64> = within.into_iter().map(|(stride, _)| stride).collect();
        within.retain(|&stride| stride != 0);
        let range = Range::below(&self.whole);
        match within[..] {
            // The first element, or any element: a unit of the thread itself.
            [] if first != 0 => {
                others.push(Term { role: Role::Unit(0), stride: number(first.into()), range });
            }
            [stride] if stride == first => {
                others.push(Term { role: Role::Unit(0), stride: number(stride.into()), range });
            }
            _ => {
                let strides = within.iter().copied().chain([first]).filter(|&stride| stride != 0);
                others.extend(strides.map(|stride| inner(stride, range.clone())));
            }
        }
        let mut bounded = others.clone();
        let mut rest = factors.clone();
        for Fact { terms, range } in self.facts.iter().rev() {
            if let Some((stride, without)) = replaced(&rest, terms) {
                bounded.push(inner(stride, range.clone()));
                rest = without;
            }
        }
        // The range of a sum includes the offsets of its variables; that of a variable does not.
        let (bounded_constant, of_rest) = self.terms(&rest);
        bounded.extend(of_rest);
        let (plain_constant, of_all) = self.terms(&factors);
        let shift = bounded_constant - plain_constant;
        if shift != 0 {
            bounded.push(inner(1, Range { least: number(shift), greatest: number(shift) }));
        }
        constant += plain_constant;
        let terms: Vec<Term> = others.into_iter().chain(of_all).collect();
        let access = Access {
            buffer: address.buffer,
            element,
            writes,
            constants: Vec::new(),
            terms: merged(terms),
            bounded: merged(bounded),
            units: self.units.clone(),
            thread: self
                .kernel
                .thread
                .and_then(|thread| self.known[thread.0].clone())
                .map(|known| known.range),
        };
        let is_same = |known: &&mut (Access, Vec<i128>)| known.0 == access;
        match self.accesses.iter_mut().find(is_same) {
            Some((_, constants)) => constants.push(constant),
            None => self.accesses.push((access, vec![constant])),
        }
    }

    /// Converts variables with their factors to terms, and returns the sum of the variables' offsets.
    fn terms(&self, factors: &[(Var, i64)]) -> (i128, Vec<Term>) {
        let known = factors.iter().filter_map(|&(var, factor)| Some((self.known[var.0].as_ref()?, factor)));
        known.fold((0, Vec::new()), |(constant, mut terms), (known, factor)| {
            let stride = number((factor * known.step).into());
            terms.push(Term { role: known.role, stride, range: known.range.clone() });
            (constant + i128::from(factor) * known.offset, terms)
        })
    }

    /// Converts variables times open sizes to terms. The offset of a variable is a term with one value.
    fn open_terms(&self, open: &[OpenTerm]) -> Vec<Term> {
        let mut terms = Vec::new();
        for term in open {
            let size = self.sizes[term.size.index()].times(term.factor.into());
            let once = |stride: Count| Term {
                role: Role::Inner,
                stride,
                range: Range { least: number(1), greatest: number(1) },
            };
            match term.var.map(|var| (var, self.known[var.0].as_ref())) {
                None => terms.push(once(size)),
                Some((_, None)) => {}
                Some((var, Some(known))) => {
                    // Elements of a chunk can be anywhere in it.
                    let is_of_chunk = self.chunks.iter().any(|(chunk, _)| *chunk == var);
                    let role = if is_of_chunk { Role::Inner } else { known.role };
                    terms.push(once(size.times(known.offset)));
                    let stride = size.times(known.step.into());
                    terms.push(Term { role, stride, range: known.range.clone() });
                }
            }
        }
        terms
    }

    fn tile(&mut self, call: &TileCall) {
        let tile = &call.tile;
        let own = |stride: usize, count: usize| (Along::Own, stride as i64, fixed(count));
        let mut given = call.counts.iter().copied();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for reduction in &tile.reduction {
            let extent =
                reduction.count.map_or_else(|| given.next().unwrap_or(Extent::Fixed(0)), Extent::Fixed);
            left.push((Along::Own, reduction.left as i64, self.end(extent)));
            right.push((Along::Own, reduction.right as i64, self.end(extent)));
        }
        let run = tile.left_rows.run.min(tile.rows);
        left.extend([
            own(tile.left_rows.stride, run),
            own(tile.left_rows.run_stride, tile.rows.div_ceil(run)),
        ]);
        right.push(own(if tile.form == Form::OuterProduct { 1 } else { tile.right_column }, tile.columns));
        let block = |rows: usize, row: usize| [own(row, rows), own(1, tile.columns)];
        self.add(false, Element::F32, &call.left, &left);
        self.add(false, Element::F32, &call.right, &right);
        let stored = block(tile.stored_rows(), tile.output_row);
        self.add(true, Element::F32, &call.output, &stored);
        if tile.start == Start::Output {
            self.add(false, Element::F32, &call.output, &stored);
        }
        let takers = tile.epilogue.iter().filter(|step| step.takes_operand());
        for (step, operand) in takers.zip(&call.operands) {
            let distances = match step {
                TileStep::AddPerRow => vec![own(1, tile.rows)],
                TileStep::AddPerColumn => vec![own(1, tile.columns)],
                TileStep::AddElement { row } => block(tile.rows, *row).to_vec(),
                _ => Vec::new(),
            };
            self.add(false, Element::F32, operand, &distances);
        }
    }

    fn map(&mut self, map: &Map) {
        let is_chunk = map.lanes == Extent::Chunk;
        let lanes = self.end(map.lanes);
        if Range::below(&lanes).is_empty() {
            return;
        }
        let kind = if is_chunk { Along::Chunk } else { Along::Own };
        for load in &map.loads {
            let steps = map.window.iter().zip(&load.window);
            let mut distances: Vec<(Along, i64, Count)> =
                steps.map(|(&extent, &stride)| (Along::Own, stride as i64, self.end(extent))).collect();
            distances.push(match (load.repeat, map.lanes) {
                (1, _) => (kind, load.lane as i64, lanes.clone()),
                (repeat, Extent::Fixed(lanes)) => {
                    (Along::Own, load.lane as i64, fixed(lanes.div_ceil(repeat)))
                }
                _ => (Along::Own, load.lane as i64, lanes.clone()),
            });
            self.add(false, load.element, &load.address, &distances);
        }
        for store in &map.stores {
            let is_single = matches!(map.fold, Fold::Lanes(_));
            let distances = if is_single { vec![] } else { vec![(kind, store.lane as i64, lanes.clone())] };
            self.add(true, store.element, &store.address, &distances);
            if store.mode == Mode::Accumulate {
                self.add(false, store.element, &store.address, &distances);
            }
        }
    }
}

/// Each variable once, with the sum of its factors.
fn summed(terms: &[(Var, i64)]) -> Vec<(Var, i64)> {
    let mut summed: Vec<(Var, i64)> = Vec::with_capacity(terms.len());
    for &(var, factor) in terms {
        match summed.iter_mut().find(|(known, _)| *known == var) {
            Some((_, known)) => *known += factor,
            None => summed.push((var, factor)),
        }
    }
    summed.retain(|(_, factor)| *factor != 0);
    summed
}

/// The factor of a sum within another sum, and the other sum without it; `None` if the factors of its variables have
/// other ratios there.
fn replaced(factors: &[(Var, i64)], sum: &[(Var, i64)]) -> Option<(i64, Vec<(Var, i64)>)> {
    let factor_of =
        |var: Var| factors.iter().find(|(known, _)| *known == var).map_or(0, |(_, factor)| *factor);
    let &(var, own) = sum.first()?;
    let times = factor_of(var) / own;
    if times == 0 || sum.iter().any(|&(var, own)| factor_of(var) != times * own) {
        return None;
    }
    let is_part = |var: Var| sum.iter().any(|&(part, _)| part == var);
    Some((times, factors.iter().copied().filter(|&(var, _)| !is_part(var)).collect()))
}

/// A range narrowed by the bounds that are known.
fn narrowed(range: Range, [least, greatest]: [Option<i128>; 2]) -> Range {
    Range {
        least: match least {
            Some(least) => larger(number(least), range.least),
            None => range.least,
        },
        greatest: match greatest {
            Some(greatest) => smaller(number(greatest), range.greatest),
            None => range.greatest,
        },
    }
}

fn fixed(count: usize) -> Count {
    number(count as i128)
}

/// A bound that is at least both, if the order is known; else the first.
fn larger(a: Count, b: Count) -> Count {
    if a.is_at_most(&b) { b } else { a }
}

/// A bound that is at most both, if the order is known; else the first.
fn smaller(a: Count, b: Count) -> Count {
    if b.is_at_most(&a) { b } else { a }
}
