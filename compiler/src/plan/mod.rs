//! The plan: the kernels that compute a graph, their order, and the location of every value.
//!
//! `prepack` computes the values that depend only on parameters, once per change of the parameters; `run` computes the
//! rest. Batch sizes and other open sizes stay open: values that grow with a size are placed in the arena of that size,
//! at an offset that a run multiplies by the size.

mod aliases;
mod axis;
mod blocked_range;
mod bounds;
mod channels;
mod choice;
mod costs;
mod error;
mod evaluate;
mod joins;
mod layout;
mod lowering;
mod memory;
mod options;
mod parallelism;
mod product;
mod products;
mod races;
mod reuse;
mod rules;
mod sizes;
mod storage;
mod strides;
mod text;
mod traffic;
mod view;

use std::collections::{BTreeSet, HashSet};

use aliases::Aliases;
pub use axis::{AxisReduction, AxisView};
pub use blocked_range::{BlockedRange, in_blocks, in_blocks_of};
pub use channels::{Epilogue, PixelBlock, PixelBlocks, SharedNumbers};
pub use choice::{Candidate, Choice, Choices, Verdict, tuning_key};
pub use costs::{Costs, PerWidth};
pub use error::PlanError;
pub use evaluate::EvaluatePlanError;
pub(crate) use layout::has_few_channels;
pub use layout::{Layout, Layouts};
pub use lowering::{KernelDraft, Lowering};
pub(crate) use lowering::{copy_span, fill};
pub use options::{Accuracy, Convolution, Im2col, MAX_THREADS, PlanOptions, Savings, WINOGRAD_RESULTS};
pub use parallelism::Parallelism;
pub use product::{RegisterTile, Vectors};
pub use products::products;
pub use rules::{Bytes, Lower, MemoryRules, Order};
pub use sizes::{Batch, OpenSizes, Size};
pub use strides::RowsOf;
pub use traffic::Traffic;
pub use view::View;
pub(crate) use view::pixel_gap;

use crate::error::GraphError;
use crate::graph::Graph;
use crate::kernel::{BufferId, Element, Kernel, SizeId, Stmt};
use crate::ops::source::Source;
use crate::shape::Type;
pub use crate::target::Features;
use crate::target::Target;

/// The location of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Not placed, because it is unused.
    Nowhere,
    /// Memory bound to each run: an index into [`Plan::slots`].
    Slot(usize),
    /// The arena of an open size, at `offset` elements times the size. `arena` is the index in [`MemoryPlan::open`].
    Open {
        /// The arena.
        arena: usize,
        /// The elements.
        offset: usize,
    },
    /// The fixed arena, at an offset in elements.
    Fixed(usize),
    /// Memory that lives as long as the program: constants, and values that `prepack` computes for `run`.
    Prepacked(usize),
    /// Memory that exists only while `prepack` runs, for its intermediates, at an offset in elements.
    Prepacking(usize),
    /// The running thread's own scratch, at an offset in elements.
    Scratch(usize),
}

/// Memory that kernels access.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Its content.
    pub name: String,
    /// Its size.
    pub size: Size,
    /// How its elements are stored.
    pub element: Element,
    /// Its location.
    pub location: Location,
}

/// Memory outside the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The kind of value that is bound to it.
    pub kind: SlotKind,
    /// The name of the source or output.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The number of its elements.
    pub size: Size,
}

/// What a [`Slot`] is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// An input of the graph.
    Input,
    /// A parameter or state, read and (in training) updated in place.
    Parameter,
    /// An output of the graph.
    Output,
}

/// Elements of each arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The arenas of open sizes: each an open size times a number of elements.
    pub open: Vec<(SizeId, usize)>,
    /// Elements of the fixed arena.
    pub fixed: usize,
    /// Elements of the prepacked memory.
    pub prepacked: usize,
    /// Elements of the arena that exists only while prepacking.
    pub prepacking: usize,
    /// Elements of scratch per thread.
    pub scratch: usize,
}

impl MemoryPlan {
    /// Bytes of all arenas of a run at the values of the plan's open sizes and a thread count, without the arena that
    /// exists only during prepacking. Saturates.
    pub fn bytes(&self, values: &[usize], threads: usize) -> usize {
        let parts = [self.fixed, self.prepacked, self.scratch.saturating_mul(threads)];
        let open = self.open_words(values).fold(0, usize::saturating_add);
        parts.into_iter().fold(open, usize::saturating_add).saturating_mul(4)
    }

    /// Elements of the arena of the batch, for each sample.
    pub fn per_sample(&self) -> usize {
        self.open.iter().find(|(size, _)| *size == SizeId::BATCH).map_or(0, |(_, elements)| *elements)
    }

    /// Elements of each arena of [`MemoryPlan::open`] at the values of the plan's open sizes.
    pub fn open_words<'a>(&'a self, values: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        self.open.iter().map(|&(size, elements)| elements.saturating_mul(values[size.index()]))
    }
}

/// The kernels that compute a graph, their order, and the location of every value.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network's name.
    pub name: String,
    /// The open sizes that buffers and kernels refer to.
    pub sizes: OpenSizes,
    /// Every buffer; kernels refer to them by index.
    pub buffers: Vec<Buffer>,
    /// Memory outside the program.
    pub slots: Vec<Slot>,
    /// Constants, to be written to prepacked memory once.
    pub constants: Vec<(BufferId, Vec<f32>)>,
    /// Kernels to run when parameters change.
    pub prepack: Vec<Kernel>,
    /// Kernels to run for every batch.
    pub run: Vec<Kernel>,
    /// Elements of each arena.
    pub memory: MemoryPlan,
    /// Threads that share a run.
    pub threads: usize,
    /// The target that the plan is for.
    pub target: Target,
    /// The planner's choices and their reasons.
    pub choices: Choices,
}

impl Plan {
    /// The location of a constant in prepacked memory.
    pub fn prepacked_offset(&self, buffer: BufferId) -> usize {
        match self.buffers[buffer.index()].location {
            Location::Prepacked(offset) => offset,
            _ => unreachable!("constants live in prepacked memory"),
        }
    }

    /// The slots that some of these kernels read or write, in order.
    pub fn slots_of(&self, kernels: &[Kernel]) -> Vec<usize> {
        let places =
            kernels.iter().flat_map(Kernel::buffers).map(|buffer| self.buffers[buffer.index()].location);
        let slots: BTreeSet<usize> = places
            .filter_map(|place| match place {
                Location::Slot(slot) => Some(slot),
                _ => None,
            })
            .collect();
        slots.into_iter().collect()
    }

    /// The slots that some of these kernels write, in order.
    pub fn slots_written(&self, kernels: &[Kernel]) -> Vec<usize> {
        let mut slots = BTreeSet::new();
        let mut written = |buffer: BufferId| {
            if let Location::Slot(slot) = self.buffers[buffer.index()].location {
                slots.insert(slot);
            }
        };
        for kernel in kernels {
            kernel.visit(&mut |stmt| match stmt {
                Stmt::Tile(call) => written(call.output.buffer),
                Stmt::Map(map) => map.stores.iter().for_each(|store| written(store.address.buffer)),
                Stmt::For { .. } | Stmt::Branch { .. } => {}
            });
        }
        slots.into_iter().collect()
    }

    /// Whether a run writes parameters or states.
    pub fn writes_parameters(&self) -> bool {
        let phases = [&self.prepack, &self.run];
        let mut written = phases.into_iter().flat_map(|kernels| self.slots_written(kernels));
        written.any(|slot| self.slots[slot].kind == SlotKind::Parameter)
    }
}

/// Plans a graph for a target.
///
/// # Errors
/// [`PlanError`] for a setting outside its range ([`PlanOptions::check`]) or an invalid graph.
pub fn plan(graph: &Graph, options: &PlanOptions, target: &Target) -> Result<Plan, PlanError> {
    options.check()?;
    crate::graph::verify(graph)?;
    let mut lowering = Lowering::new(graph, options, target);
    let aliases = Aliases::of(graph, &lowering.images);
    let mut slots = Vec::new();
    for node in graph.nodes() {
        aliases.place_results(graph, node, &mut lowering, &mut slots);
    }
    aliases.place_outputs(graph, &mut lowering, &mut slots);
    if options.savings.concat_in_place {
        joins::concat_in_place(graph, &mut lowering);
    }
    let prepacked = prepacked_nodes(graph);
    lowering.batch_invariant = graph
        .node_ids()
        .filter(|(id, _)| prepacked.contains(&id.index()))
        .flat_map(|(_, node)| node.results.iter().copied())
        .collect();
    if options.savings.overwritten_operands {
        reuse::reuse_operands(graph, &mut lowering);
    }
    let mut prepack = Vec::new();
    let mut run = Vec::new();
    for (id, node) in graph.node_ids() {
        if lowering.fused.contains(&id) {
            continue;
        }
        lowering.node = id;
        match node.op.memory().operands {
            Order::OfShape => lowering.operands_in_order(node),
            Order::AnyOfFixed if layout::has_open_items(graph, node) => lowering.operands_in_order(node),
            Order::AnyOfFixed | Order::Any | Order::Dense => {}
        }
        node.op.lower(&mut lowering, node);
        let (from_parameters, kernels) = lowering.take();
        prepack.extend(from_parameters);
        if prepacked.contains(&id.index()) { &mut prepack } else { &mut run }.extend(kernels);
    }
    run.extend(aliases.copies(graph, &mut lowering));
    for kernel in prepack.iter().chain(&run) {
        crate::kernel::verify(kernel)
            .and_then(|()| storage::verify(kernel, &lowering.buffers))
            .and_then(|()| bounds::verify(kernel, &lowering.buffers, &lowering.sizes, options.threads))
            .and_then(|()| match options.verify_races {
                true => races::verify(kernel, &lowering.buffers, &lowering.sizes, options.threads),
                false => Ok(()),
            })
            .map_err(|reason| GraphError::Invalid { reason })?;
    }
    let Lowering { sizes, mut buffers, constants, choices, .. } = lowering;
    let memory = memory::place(&mut buffers, &constants, &prepack, &run);
    Ok(Plan {
        name: graph.name().to_owned(),
        sizes,
        buffers,
        slots,
        constants,
        prepack,
        run,
        memory,
        threads: options.threads,
        target: *target,
        choices: Choices(choices),
    })
}

/// Nodes that depend only on parameters, states and constants, in a graph that does not update them.
fn prepacked_nodes(graph: &Graph) -> HashSet<usize> {
    let mut prepacked = HashSet::new();
    if !graph.updates().is_empty() {
        return prepacked;
    }
    for (id, node) in graph.node_ids() {
        let is_input = matches!(node.op.source(), Some(Source::Input(_)));
        if !is_input
            && node.operands.iter().all(|&value| prepacked.contains(&graph.producer_id(value).index()))
        {
            prepacked.insert(id.index());
        }
    }
    prepacked
}
