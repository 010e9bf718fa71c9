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
mod lifetimes;
mod loops;
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
pub use lifetimes::Lifetime;
pub use loops::{Event, Loop, Motion, Window};
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

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::kernel::{BufferId, Element, Kernel, SizeId, Stmt};
use crate::ops::Op;
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
    /// The part of another buffer that belongs to the current step of a loop: an index into [`Plan::windows`].
    Window(usize),
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
    /// The loops in `run`, each before those inside it.
    pub loops: Vec<Loop>,
    /// Parts of buffers that move with the steps of a loop.
    pub windows: Vec<Window>,
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
        let buffers = kernels.iter().flat_map(Kernel::buffers);
        let slots: BTreeSet<usize> = buffers.filter_map(|buffer| self.slot_of(buffer)).collect();
        slots.into_iter().collect()
    }

    /// The slot that a buffer or the part of a buffer is in.
    fn slot_of(&self, buffer: BufferId) -> Option<usize> {
        match self.buffers[buffer.index()].location {
            Location::Slot(slot) => Some(slot),
            Location::Window(window) => self.slot_of(self.windows[window].start.buffer),
            _ => None,
        }
    }

    /// The slots that some of these kernels write, in order.
    pub fn slots_written(&self, kernels: &[Kernel]) -> Vec<usize> {
        let mut slots = BTreeSet::new();
        let mut written = |buffer: BufferId| slots.extend(self.slot_of(buffer));
        for kernel in kernels {
            kernel.visit(&mut |stmt| match stmt {
                Stmt::Tile(call) => written(call.output.buffer),
                Stmt::Map(map) => map.stores.iter().for_each(|store| written(store.address.buffer)),
                Stmt::For { .. } | Stmt::Branch { .. } | Stmt::Lookup { .. } => {}
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
    let mut slots = Vec::new();
    let mut bound = |kind: SlotKind, name: &str, ty: &Type, size: Size| {
        slots.push(Slot { kind, name: name.to_owned(), ty: ty.clone(), size });
        Location::Slot(slots.len() - 1)
    };
    let prepacked = prepacked_nodes(graph);
    let Lowered { prepack, run, loops, .. } = lower(&mut lowering, &Once::prepacked(prepacked), &mut bound);
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
    let Lowering { sizes, mut buffers, constants, choices, windows, .. } = lowering;
    let memory = memory::place(&mut buffers, &constants, &prepack, &run, (&loops, &windows));
    Ok(Plan {
        name: graph.name().to_owned(),
        sizes,
        buffers,
        slots,
        constants,
        prepack,
        run,
        loops,
        windows,
        memory,
        threads: options.threads,
        target: *target,
        choices: Choices(choices),
    })
}

/// The nodes of a graph whose kernels run less often than the others.
#[derive(Default)]
struct Once {
    /// Those whose kernels run when parameters have changed.
    prepacked: HashSet<usize>,
    /// Those whose kernels run before the loop whose body the graph is.
    before: HashSet<usize>,
}

impl Once {
    fn prepacked(prepacked: HashSet<usize>) -> Self {
        Once { prepacked, before: HashSet::new() }
    }

    fn contains(&self, id: NodeId) -> bool {
        self.prepacked.contains(&id.index()) || self.before.contains(&id.index())
    }
}

/// The kernels of a graph.
#[derive(Debug, Default)]
struct Lowered {
    /// Kernels that run when parameters have changed.
    prepack: Vec<Kernel>,
    /// Kernels that run before the loop whose body the graph is.
    before: Vec<Kernel>,
    /// The others.
    run: Vec<Kernel>,
    /// The loops in them.
    loops: Vec<Loop>,
}

/// Places the values of the lowering's graph and lowers its nodes. `bound` gives the location of inputs that have no view
/// yet, parameters, states and outputs.
fn lower(lowering: &mut Lowering<'_>, once: &Once, bound: &mut aliases::Bound<'_>) -> Lowered {
    let (graph, savings) = (lowering.graph, lowering.options.savings);
    let aliases = Aliases::of(graph, &lowering.images, once);
    for node in graph.nodes() {
        aliases.place_results(graph, node, lowering, bound);
    }
    aliases.place_outputs(graph, lowering, bound);
    let results = |ids: &HashSet<usize>| -> HashSet<ValueId> {
        let nodes = graph.node_ids().filter(|(id, _)| ids.contains(&id.index()));
        nodes.flat_map(|(_, node)| node.results.iter().copied()).collect()
    };
    lowering.before_loop = results(&once.before);
    lowering.batch_invariant = results(&once.prepacked).union(&lowering.before_loop).copied().collect();
    if savings.concat_in_place {
        joins::concat_in_place(graph, lowering);
    }
    if savings.overwritten_operands {
        reuse::reuse_operands(graph, lowering);
    }
    let mut all = Lowered::default();
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
        node.op.lower(lowering, node);
        let Lowered { prepack, before, run, loops } = lowering.take();
        all.prepack.extend(prepack);
        all.before.extend(before);
        if once.prepacked.contains(&id.index()) {
            all.prepack.extend(run);
        } else if once.before.contains(&id.index()) {
            all.before.extend(run);
        } else {
            all.loops.extend(loops.into_iter().map(|inner| inner.behind(all.run.len())));
            all.run.extend(run);
        }
    }
    all.run.extend(aliases.copies(graph, lowering));
    all
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
            && !matches!(node.op, Op::Scan(_))
            && !node.results.iter().any(|&value| graph.ty(value).shape.is_batched())
            && node.operands.iter().all(|&value| prepacked.contains(&graph.producer_id(value).index()))
        {
            prepacked.insert(id.index());
        }
    }
    prepacked
}
