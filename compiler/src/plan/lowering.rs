//! The context that operators use to lower a node to kernels.

use std::collections::{HashMap, HashSet};

use super::sizes::parts_of_samples;
use super::{
    Batch, Buffer, Choice, Convolution, Location, Loop, Lowered, OpenSizes, Parallelism, PlanOptions, Size,
    Vectors, Verdict, View, WINOGRAD_RESULTS, Window, layout::ImageLayouts, loops::CarriedMemory, storage,
    tuning_key,
};
use crate::entity::{NodeId, ValueId};
use crate::faults::{Fault, armed};
use crate::graph::{Graph, Node};
use crate::kernel::{Address, BufferId, Element, Extent, Kernel, MapBuilder, Split, Stmt, Var};
use crate::ops::{Cost, Operator};
use crate::shape::Type;
use crate::target::Target;

/// The state that an operator's lowering reads and adds to.
#[derive(Debug)]
pub struct Lowering<'g> {
    pub(super) graph: &'g Graph,
    /// The current node.
    pub(super) node: NodeId,
    /// The options of the plan.
    pub options: &'g PlanOptions,
    /// The vectors of the target.
    pub vectors: Vectors,
    /// The threads and batch size to optimise for.
    pub parallelism: Parallelism,
    /// The layouts of images.
    pub(super) images: ImageLayouts,
    /// The open sizes of the plan.
    pub(super) sizes: OpenSizes,
    /// For each value, whether its rows are parts of samples.
    pub(super) are_parts: Vec<bool>,
    uses: Vec<usize>,
    /// How each value's elements are stored.
    pub(super) elements: Vec<Element>,
    only_users: Vec<Option<NodeId>>,
    /// The nodes that read each value, in order.
    readers: Vec<Vec<NodeId>>,
    /// All values that were bound to each buffer.
    pub(super) residents: HashMap<BufferId, Vec<ValueId>>,
    /// Nodes that a kernel of an earlier node computes too.
    pub(super) fused: HashSet<NodeId>,
    /// The locations of each value: first the stored value, then copies in another layout.
    pub(super) views: HashMap<ValueId, Vec<View>>,
    /// Values that depend only on parameters, in a graph that does not update them.
    pub(super) batch_invariant: HashSet<ValueId>,
    /// Those of them that do change between runs, in the body of a loop: they do not change from step to step.
    pub(super) before_loop: HashSet<ValueId>,
    /// Whether the graph is the body of a loop.
    is_body: bool,
    pub(super) lowered: Lowered,
    /// The memory of the values that scans carry.
    pub(super) carried: HashMap<NodeId, Vec<CarriedMemory>>,
    pub(super) windows: Vec<Window>,
    scratch: usize,
    pub(super) buffers: Vec<Buffer>,
    pub(super) constants: Vec<(BufferId, Vec<f32>)>,
    pub(super) output_copies: Vec<(ValueId, BufferId)>,
    pub(super) choices: Vec<Choice>,
}

impl<'g> Lowering<'g> {
    pub(super) fn new(graph: &'g Graph, options: &'g PlanOptions, target: &Target) -> Self {
        Lowering {
            graph,
            node: NodeId::new(0),
            options,
            vectors: Vectors::of(target.vectors, options.costs),
            parallelism: Parallelism::of(graph, options),
            images: ImageLayouts::of(graph, options.layouts),
            sizes: OpenSizes::of(graph),
            are_parts: parts_of_samples(graph),
            uses: graph.use_counts(),
            elements: storage::elements(graph),
            only_users: graph.only_users(),
            readers: readers(graph),
            residents: HashMap::new(),
            fused: HashSet::new(),
            views: HashMap::new(),
            batch_invariant: HashSet::new(),
            before_loop: HashSet::new(),
            is_body: false,
            lowered: Lowered::default(),
            carried: HashMap::new(),
            windows: Vec::new(),
            scratch: 0,
            buffers: Vec::new(),
            constants: Vec::new(),
            output_copies: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// The lowering of a loop's body. It takes the buffers, sizes and choices of the lowering around it, until
    /// [`give_back`](Self::give_back) returns them.
    pub(super) fn within<'around: 'g>(body: &'g Graph, around: &mut Lowering<'around>) -> Self {
        let mut sizes = around.sizes.clone();
        sizes.add_all(body);
        Lowering {
            graph: body,
            node: NodeId::new(0),
            options: around.options,
            vectors: around.vectors,
            parallelism: around.parallelism,
            images: ImageLayouts::of(body, around.options.layouts),
            sizes,
            are_parts: parts_of_samples(body),
            uses: body.use_counts(),
            elements: storage::elements(body),
            only_users: body.only_users(),
            readers: readers(body),
            residents: HashMap::new(),
            fused: HashSet::new(),
            views: HashMap::new(),
            batch_invariant: HashSet::new(),
            before_loop: HashSet::new(),
            is_body: true,
            lowered: Lowered::default(),
            carried: HashMap::new(),
            windows: std::mem::take(&mut around.windows),
            scratch: 0,
            buffers: std::mem::take(&mut around.buffers),
            constants: std::mem::take(&mut around.constants),
            output_copies: Vec::new(),
            choices: std::mem::take(&mut around.choices),
        }
    }

    /// Returns what the lowering of a loop's body took.
    pub(super) fn give_back(self, around: &mut Lowering<'_>) {
        around.sizes = self.sizes;
        around.windows = self.windows;
        around.buffers = self.buffers;
        around.constants = self.constants;
        around.choices = self.choices;
    }

    pub(super) fn new_buffer(&mut self, buffer: Buffer) -> BufferId {
        self.buffers.push(buffer);
        BufferId(self.buffers.len() - 1)
    }

    /// The added kernels.
    pub(super) fn take(&mut self) -> Lowered {
        self.scratch = 0;
        std::mem::take(&mut self.lowered)
    }

    /// Adds a loop over kernels, which may contain loops.
    pub(super) fn push_loop(&mut self, body: Lowered, steps: Size, reverse: bool, windows: Vec<usize>) {
        let first = self.lowered.run.len();
        let inside = body.loops.len();
        let kernels = first..first + body.run.len();
        self.lowered.loops.push(Loop { kernels, steps, reverse, windows, inside });
        self.lowered.loops.extend(body.loops.into_iter().map(|inner| inner.behind(first)));
        self.lowered.run.extend(body.run);
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &'g Type {
        self.graph.ty(value)
    }

    /// How the elements of a value are stored.
    pub fn element(&self, value: ValueId) -> Element {
        self.elements[value.index()]
    }

    /// The sizes of one item of a value.
    pub fn item(&self, value: ValueId) -> Vec<usize> {
        self.ty(value).shape.item()
    }

    /// The node that computes a value.
    pub fn producer(&self, value: ValueId) -> &'g Node {
        self.graph.producer(value)
    }

    /// Whether a value is used.
    pub fn is_used(&self, value: ValueId) -> bool {
        self.uses[value.index()] > 0
    }

    /// The node that is the only user of a value, if there is one.
    pub fn only_user(&self, value: ValueId) -> Option<(NodeId, &'g Node)> {
        let id = self.only_users[value.index()]?;
        Some((id, self.graph.node(id)))
    }

    /// Whether a node between the current one and `end` reads a buffer.
    pub fn is_read_until(&self, buffer: BufferId, end: NodeId) -> bool {
        let reads = |value: &ValueId| {
            let later = &self.readers[value.index()];
            let next = later.get(later.partition_point(|id| *id <= self.node));
            self.view(*value).address.buffer == buffer && next.is_some_and(|next| *next < end)
        };
        self.residents.get(&buffer).is_some_and(|values| values.iter().any(reads))
    }

    /// The nodes that read a value, in order, each once.
    pub fn readers(&self, value: ValueId) -> impl Iterator<Item = &'g Node> {
        let graph = self.graph;
        self.readers[value.index()].iter().map(|&id| graph.node(id))
    }

    /// Fuses a later node into a kernel: the node adds no kernels of its own.
    pub fn fuse(&mut self, id: NodeId, draft: &mut KernelDraft) {
        let node = self.graph.node(id);
        let cost = node.op.cost(&self.graph.types(&node.operands), &self.graph.types(&node.results));
        draft.cost = draft.cost.plus(&cost);
        self.fused.insert(id);
    }

    /// Memory for each thread, valid within one kernel.
    pub fn scratch(&mut self, name: &str, elements: usize) -> BufferId {
        let place = Location::Scratch(self.scratch);
        self.scratch += elements.next_multiple_of(crate::abi::ALIGNMENT_WORDS);
        let size = Size::fixed(elements);
        self.new_buffer(Buffer { name: name.to_owned(), size, element: Element::F32, location: place })
    }

    /// Memory shared by all threads, valid during the kernels of this node.
    pub fn temporary(&mut self, name: &str, size: Size) -> BufferId {
        let (name, place) = (name.to_owned(), Location::Nowhere);
        self.new_buffer(Buffer { name, size, element: Element::F32, location: place })
    }

    /// Constants known at planning time.
    pub fn constant(&mut self, name: &str, numbers: Vec<f32>) -> BufferId {
        let buffer = self.temporary(name, Size::fixed(numbers.len()));
        self.constants.push((buffer, numbers));
        buffer
    }

    /// Chooses between direct convolution and Winograd's algorithm with each of [`WINOGRAD_RESULTS`], and records why.
    /// Returns the index there, or `None` for direct convolution. Times are in sixteenths of a cycle, or say why
    /// Winograd's algorithm is not possible. Values that depend only on `weight` may be prepacked.
    ///
    /// For windows without transforms, returns `None` and records no choice.
    pub fn choose(
        &mut self,
        node: &Node,
        weight: ValueId,
        direct: usize,
        winograd: [Result<usize, Verdict>; WINOGRAD_RESULTS.len()],
    ) -> Option<usize> {
        if winograd.contains(&Err(Verdict::Window)) {
            return None;
        }
        let options = self.options;
        let is_prepacked = self.is_prepacked(weight);
        let tuned = if options.tuned.is_empty() {
            None
        } else {
            options
                .tuned
                .get(&tuning_key(self.graph, node, is_prepacked, options, self.vectors.unit.bits))
                .copied()
        };
        let mut times = vec![(Convolution::Direct, Ok(direct))];
        times.extend(WINOGRAD_RESULTS.map(Convolution::Winograd).into_iter().zip(winograd));
        let choice = Choice::decide(self.node, self.name(node), is_prepacked, options, tuned, &times);
        let taken = choice.taken();
        self.choices.push(choice);
        WINOGRAD_RESULTS.iter().position(|&results| taken == Convolution::Winograd(results))
    }

    /// The name of a node's main kernel.
    fn name(&self, node: &Node) -> String {
        let label = if node.label.is_empty() { String::new() } else { format!("{}.", node.label) };
        format!("{label}{}", node.op.name())
    }

    /// Starts a kernel of a node.
    pub fn draft(&self, node: &Node, note: impl Into<String>) -> KernelDraft {
        KernelDraft {
            name: self.name(node),
            note: note.into(),
            cost: node.op.cost(&self.graph.types(&node.operands), &self.graph.types(&node.results)),
            variables: 0,
            thread: None,
            setup: Vec::new(),
            batch: self.batch_of_node(node),
        }
    }

    /// Adds a finished kernel.
    pub fn push(&mut self, kernel: Kernel) {
        self.lowered.run.push(kernel);
    }

    /// Whether a value only changes when parameters do, or not from step to step of a loop, so that kernels may derive
    /// others from it in advance.
    pub fn is_prepacked(&self, value: ValueId) -> bool {
        self.batch_invariant.contains(&value)
    }

    /// Whether a value is the same in all steps of the loop whose body this is.
    pub fn is_fixed_in_loop(&self, value: ValueId) -> bool {
        self.is_body && self.is_prepacked(value)
    }

    /// Adds a finished kernel whose result depends only on one value. If that value depends only on parameters, the
    /// kernel only runs when they change; if it is the same in every step of a loop, the kernel runs before the loop.
    pub fn push_derived(&mut self, from: ValueId, kernel: Kernel) {
        if armed(Fault::MissingPrepack) {
            return;
        }
        let kernels = match () {
            () if self.before_loop.contains(&from) => &mut self.lowered.before,
            () if self.batch_invariant.contains(&from) => &mut self.lowered.prepack,
            () => &mut self.lowered.run,
        };
        kernels.push(kernel);
    }

    /// Adds a kernel that copies the first operand's elements, dense and in the order of its shape, to the first
    /// result.
    pub fn copy(&mut self, node: &Node) {
        let (from, to) = (node.operands[0], node.results[0]);
        let mut draft = self.draft(node, "a copy");
        let first = draft.var();
        let mut map = MapBuilder::new(Extent::Chunk);
        let element = self.elements[from.index()];
        let value = map.load_as(element, self.address(from).plus(first, 1), 1, &[]);
        map.store_as(element, self.address(to).plus(first, 1), 1, value);
        self.push(draft.finish(Split::Lanes(first, self.size(from).extent()), vec![map.finish()]));
    }

    /// Adds a kernel that computes a result element by element from operands with the same number of elements. `build`
    /// gets the map, the operands' elements and the first element's variable, and stores the result.
    pub fn elementwise(
        &mut self,
        node: &Node,
        operands: &[(ValueId, usize)],
        build: impl FnOnce(&mut MapBuilder, &[crate::kernel::ExprId], Var),
        size: Size,
    ) {
        let mut draft = self.draft(node, "one span");
        let first = draft.var();
        let mut map = MapBuilder::new(Extent::Chunk);
        let loads: Vec<_> = operands
            .iter()
            .map(|&(value, lane)| {
                let address = self.address(value);
                map.load(if lane == 0 { address } else { address.plus(first, lane) }, lane)
            })
            .collect();
        build(&mut map, &loads, first);
        self.push(draft.finish(Split::Lanes(first, size.extent()), vec![map.finish()]));
    }
}

/// The nodes that read each value, in order, each once.
fn readers(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut readers = vec![Vec::new(); graph.value_count()];
    for (id, node) in graph.node_ids() {
        for operand in &node.operands {
            let own = &mut readers[operand.index()];
            if own.last() != Some(&id) {
                own.push(id);
            }
        }
    }
    readers
}

/// A kernel under construction.
#[derive(Clone, Debug)]
pub struct KernelDraft {
    name: String,
    note: String,
    cost: Cost,
    variables: usize,
    thread: Option<Var>,
    setup: Vec<Stmt>,
    batch: Option<Batch>,
}

impl KernelDraft {
    /// The items of the batch that its node works on.
    ///
    /// # Panics
    /// If the node has no batched value.
    pub fn batch(&self) -> Batch {
        self.batch.expect("a node of a batch has batched values")
    }

    /// A new variable.
    pub fn var(&mut self) -> Var {
        self.variables += 1;
        Var(self.variables - 1)
    }

    /// `count` new variables.
    pub fn vars(&mut self, count: usize) -> Vec<Var> {
        (0..count).map(|_| self.var()).collect()
    }

    /// The variable that holds the index of the running thread.
    pub fn thread(&mut self) -> Var {
        match self.thread {
            Some(var) => var,
            None => {
                let var = self.var();
                self.thread = Some(var);
                var
            }
        }
    }

    /// Renames the kernel and assigns it no work; its node's main kernel has all of it.
    #[must_use]
    pub fn part(mut self, suffix: &str) -> Self {
        self.name = format!("{}.{suffix}", self.name);
        self.cost = Cost::default();
        self
    }

    /// Assigns the fraction `part / whole` of the node's work to this kernel; other kernels do the rest.
    #[must_use]
    pub fn with_fraction_of_work(mut self, part: usize, whole: usize) -> Self {
        self.cost = self.cost.fraction(part, whole);
        self
    }

    /// Sets the statements that each thread runs before its chunk.
    pub fn setup(&mut self, stmts: Vec<Stmt>) {
        self.setup = stmts;
    }

    /// The finished kernel.
    pub fn finish(self, split: Split, body: Vec<Stmt>) -> Kernel {
        Kernel {
            name: self.name,
            note: self.note,
            split,
            setup: self.setup,
            body,
            variables: self.variables,
            thread: self.thread,
            cost: self.cost,
        }
    }
}

/// A statement that fills a span with a number.
pub(crate) fn fill(to: Address, elements: usize, value: f32) -> Stmt {
    let mut map = MapBuilder::new(Extent::Fixed(elements));
    let value = map.expr(crate::kernel::Expr::Constant(value));
    map.store(to, 1, value);
    map.finish()
}

/// A statement that copies a span.
pub(crate) fn copy_span(from: Address, from_stride: usize, to: Address, elements: usize) -> Stmt {
    let mut map = MapBuilder::new(Extent::Fixed(elements));
    let value = map.load(from, from_stride);
    map.store(to, 1, value);
    map.finish()
}

/// A kernel that copies a whole buffer.
pub(super) fn copy(name: &str, from: Address, to: Address, size: Size, element: Element) -> Kernel {
    let first = Var(0);
    let mut map = MapBuilder::new(Extent::Chunk);
    let value = map.load_as(element, from.plus(first, 1), 1, &[]);
    map.store_as(element, to.plus(first, 1), 1, value);
    Kernel {
        name: name.to_owned(),
        note: "could not be computed in place".to_owned(),
        split: Split::Lanes(first, size.extent()),
        setup: Vec::new(),
        body: vec![map.finish()],
        variables: 1,
        thread: None,
        cost: Cost::default(),
    }
}
