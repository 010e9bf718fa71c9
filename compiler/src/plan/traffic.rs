//! A lower bound on the bytes that a kernel moves: its reads and its writes, each element once. The actual traffic
//! depends on caches and scratch, which are not counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Buffer, Location, Plan};
use crate::kernel::{
    Address, BufferId, Extent, Form, Kernel, Mode, SizeId, Split, Stmt, TileCall, TileStep, Var,
};
use crate::shape::{Polynomial, Sizes};

/// Bytes that a kernel reads and writes outside its scratch, each element once; an element that is read and written
/// counts twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The bytes, as a polynomial of the open sizes.
    pub bytes: Polynomial,
}

impl Traffic {
    /// The traffic of a kernel of a plan. If a kernel accesses a part of a buffer, only that part counts.
    pub fn of(kernel: &Kernel, plan: &Plan) -> Self {
        let mut ranges = vec![Count::number(1.0); kernel.variables];
        let mut chunk = Count::number(1.0);
        if let Some(thread) = kernel.thread {
            ranges[thread.0] = Count::fixed(plan.threads);
        }
        match &kernel.split {
            Split::Serial => {}
            Split::Axes(axes) => {
                for &(var, extent) in axes {
                    ranges[var.0] = Count::of(extent, &chunk);
                }
            }
            Split::Lanes(_, extent) => chunk = Count::of(*extent, &chunk),
        }
        let mut touched = Touched { ranges, chunk, reads: BTreeMap::new(), writes: BTreeMap::new() };
        touched.body(&kernel.setup);
        touched.body(&kernel.body);
        let mut traffic = Traffic::default();
        for (buffer, count) in touched.reads.into_iter().chain(touched.writes) {
            let buffer = &plan.buffers[buffer.index()];
            if !matches!(buffer.location, Location::Scratch(_)) {
                traffic.add(&count, buffer, plan);
            }
        }
        traffic
    }

    /// Bytes at given open sizes, or for a batch of the given number of samples. Saturates.
    pub fn at(&self, sizes: impl Into<Sizes>) -> u64 {
        self.bytes.at(&sizes.into()) as u64
    }

    /// Adds the accessed elements of a buffer, which are at most all of them.
    fn add(&mut self, count: &Count, buffer: &Buffer, plan: &Plan) {
        let (size, bytes) = (buffer.size, buffer.element.bytes());
        let whole = (4 * size.elements / bytes) as f64;
        let is_part = count.sizes[..] == *size.open.as_slice();
        let elements = if is_part { count.factor.min(whole) } else { whole };
        let bytes = bytes as f64 * elements.ceil();
        let each =
            size.open.map_or(Polynomial::from(1usize), |size| plan.sizes.polynomials()[size.index()].clone());
        // The conversion saturates.
        self.bytes = self.bytes.plus(&each.scaled(bytes as i64));
    }
}

/// A number times open sizes. It may be a fraction, for loops over blocks.
#[derive(Clone, Debug)]
pub(super) struct Count {
    pub(super) factor: f64,
    /// Sorted.
    pub(super) sizes: SmallVec<[SizeId; 2]>,
}

impl Count {
    pub(super) fn number(factor: f64) -> Self {
        Count { factor, sizes: SmallVec::new() }
    }

    pub(super) fn fixed(count: usize) -> Self {
        Count::number(count as f64)
    }

    pub(super) fn of(extent: Extent, chunk: &Count) -> Self {
        match extent {
            Extent::Fixed(count) => Count::fixed(count),
            Extent::Open(size, times) | Extent::Floor { size, times, .. } => {
                Count { factor: times as f64, sizes: SmallVec::from_slice(&[size]) }
            }
            Extent::Chunk | Extent::ChunkFloor(_) => chunk.clone(),
        }
    }

    pub(super) fn times(mut self, other: &Count) -> Self {
        self.factor *= other.factor;
        self.sizes.extend_from_slice(&other.sizes);
        self.sizes.sort_unstable();
        self
    }

    /// The iterations of a loop.
    pub(super) fn range([start, end]: [Extent; 2], step: usize, chunk: &Count) -> Self {
        let (start, end) = (Count::of(start, chunk), Count::of(end, chunk));
        let start = if start.sizes == end.sizes { start.factor } else { 0.0 };
        Count { factor: (end.factor - start) / step as f64, sizes: end.sizes }
    }

    /// The sum. For different sizes, the term with more of them, which dominates if they are large.
    fn plus(self, other: Count) -> Self {
        if self.sizes == other.sizes {
            return Count { factor: self.factor + other.factor, sizes: self.sizes };
        }
        if self.sizes.len() < other.sizes.len() { other } else { self }
    }
}

/// The elements that a kernel accesses.
struct Touched {
    /// The number of values of each variable.
    ranges: Vec<Count>,
    /// The number of elements in all threads' chunks together.
    chunk: Count,
    reads: BTreeMap<BufferId, Count>,
    writes: BTreeMap<BufferId, Count>,
}

impl Touched {
    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, start, end, step, body } => {
                    self.ranges[var.0] = Count::range([*start, *end], *step, &self.chunk);
                    self.body(body);
                }
                Stmt::Branch { below, rest, .. } => {
                    self.body(below);
                    self.body(rest);
                }
                Stmt::Lookup { var, from, found, rest, .. } => {
                    self.read(from, &[]);
                    // All indices may be the same.
                    self.ranges[var.0] = Count::number(1.0);
                    self.body(found);
                    self.body(rest);
                }
                Stmt::Tile(call) => self.tile(call),
                Stmt::Map(map) => {
                    let lanes = Count::of(map.lanes, &self.chunk);
                    for load in &map.loads {
                        let mut leaf = vec![(lanes.clone(), load.lane)];
                        leaf[0].0.factor /= load.repeat as f64;
                        leaf.extend(
                            map.window
                                .iter()
                                .zip(&load.window)
                                .map(|(&extent, &stride)| (Count::of(extent, &self.chunk), stride)),
                        );
                        self.read(&load.address, &leaf);
                    }
                    for store in &map.stores {
                        self.write(
                            &store.address,
                            &[(lanes.clone(), store.lane)],
                            store.mode == Mode::Accumulate,
                        );
                    }
                }
            }
        }
    }

    fn tile(&mut self, call: &TileCall) {
        let tile = &call.tile;
        let mut open = call.counts.iter();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for reduction in &tile.reduction {
            let extent = reduction.count.map(Extent::Fixed).or_else(|| open.next().copied());
            let count = extent.map_or(Count::number(1.0), |extent| Count::of(extent, &self.chunk));
            left.push((count.clone(), reduction.left));
            right.push((count, reduction.right));
        }
        let (rows, columns) = (Count::fixed(tile.rows), Count::fixed(tile.columns));
        // The rows of a tile start at different addresses, with or without a fixed stride.
        left.push((rows.clone(), 1));
        right.push((columns.clone(), if tile.form == Form::OuterProduct { 1 } else { tile.right_column }));
        self.read(&call.left, &left);
        self.read(&call.right, &right);
        let block = [(Count::fixed(tile.stored_rows()), tile.output_row), (columns.clone(), 1)];
        self.write(&call.output, &block, tile.start == crate::kernel::Start::Output);
        let takers = tile.epilogue.iter().filter(|step| step.takes_operand());
        for (step, operand) in takers.zip(&call.operands) {
            match step {
                TileStep::AddPerRow => self.read(operand, &[(rows.clone(), 1)]),
                TileStep::AddPerColumn => self.read(operand, &[(columns.clone(), 1)]),
                TileStep::AddElement { row } => {
                    self.read(operand, &[(rows.clone(), *row), (columns.clone(), 1)])
                }
                TileStep::MultiplyScalar => self.read(operand, &[]),
                TileStep::Apply(_) | TileStep::Pool(_) => {}
            }
        }
    }

    /// The number of elements that an access within a leaf touches in all iterations of the loops around it, from the
    /// leaf's own counts and strides and the variables of the address.
    fn elements(&self, address: &Address, leaf: &[(Count, usize)]) -> Count {
        let mut vars: Vec<Var> = Vec::new();
        for var in address.offset.vars() {
            if !vars.contains(&var) {
                vars.push(var);
            }
        }
        let around = vars.into_iter().map(|var| &self.ranges[var.0]);
        let within = leaf.iter().filter(|(_, stride)| *stride != 0).map(|(count, _)| count);
        around.chain(within).fold(Count::number(1.0), Count::times)
    }

    fn read(&mut self, address: &Address, leaf: &[(Count, usize)]) {
        let count = self.elements(address, leaf);
        add(&mut self.reads, address.buffer, count);
    }

    fn write(&mut self, address: &Address, leaf: &[(Count, usize)], adds: bool) {
        let count = self.elements(address, leaf);
        if adds {
            add(&mut self.reads, address.buffer, count.clone());
        }
        add(&mut self.writes, address.buffer, count);
    }
}

fn add(touched: &mut BTreeMap<BufferId, Count>, buffer: BufferId, count: Count) {
    let before = touched.remove(&buffer);
    touched.insert(buffer, before.map_or(count.clone(), |sum| sum.plus(count)));
}

#[cfg(test)]
mod tests {
    use super::Traffic;
    use crate::graph::Graph;
    use crate::plan::{PlanOptions, plan};
    use crate::shape::Sizes;
    use crate::target::Target;

    /// Bytes per item, and bytes independent of the batch, for each kernel.
    fn traffic(nodes: &str) -> Vec<(usize, usize)> {
        let graph: Graph = format!("graph net {{\n{nodes}\n}}").parse().unwrap();
        let plan = plan(&graph, &PlanOptions::default(), &Target::x86_64(512)).unwrap();
        let of = |kernel| {
            let traffic = Traffic::of(kernel, &plan);
            let fixed = traffic.bytes.constant();
            (traffic.bytes.minus(&fixed).at(&Sizes::from(1)), fixed.at(&Sizes::new()))
        };
        plan.run.iter().map(of).collect()
    }

    const X: &str = r#"%0 = input {name = "x", role = "data", type = "f32[N, 6, 8, 8]"} : f32[N, 6, 8, 8]"#;

    #[test]
    fn an_elementwise_kernel_reads_and_writes_every_element_once() {
        let kernels = traffic(&format!("{X}\n%1 = unary(%0) {{kind = \"relu\"}}\noutput \"y\" = %1"));
        assert_eq!(kernels, [(4 * 2 * 384, 0)]);
    }

    #[test]
    fn a_convolution_reads_its_input_once_however_often_it_is_gathered() {
        let kernels = traffic(&format!(
            "{X}\n%1 = parameter {{name = \"w\", shape = \"[4, 6, 3, 3]\", init = \"xavier_uniform\"}}\n\
             %2 = conv(%0, %1) {{kernel_size = [3, 3], stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1}}\n\
             output \"y\" = %2"
        ));
        assert_eq!(kernels, [(4 * (384 + 4 * 36), 4 * 216)]);
    }

    #[test]
    fn a_slice_reads_the_part_it_takes() {
        let kernels =
            traffic(&format!("{X}\n%1 = slice(%0) {{axis = 1, start = 2, length = 2}}\noutput \"y\" = %1"));
        assert_eq!(kernels, [(4 * 2 * 128, 0)]);
    }

    #[test]
    fn a_dense_layer_reads_its_weight_once_for_all_items() {
        let kernels = traffic(
            "%0 = input {name = \"x\", role = \"data\", type = \"f32[N, 32]\"}\n\
             %1 = parameter {name = \"w\", shape = \"[10, 32]\", init = \"xavier_uniform\"}\n\
             %2 = linear(%0, %1)\noutput \"y\" = %2",
        );
        assert_eq!(kernels, [(4 * (32 + 10), 4 * 320)]);
    }
}
