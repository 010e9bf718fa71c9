//! Products of a batch and a weight that is packed first: outer products. Inner products, which read the weight as it is,
//! are as fast if few items read a large weight from memory, or if the outputs do not fill a register tile.

use super::lower::{over_batch, over_chunk};
use crate::entity::ValueId;
use crate::faults::repeat_last;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep,
    Var,
};
use crate::ops::epilogue::FusedSteps;
use crate::plan::{BlockedRange, Lowering, RegisterTile, Size, View};

/// The number of items from which on packing in advance is always worth it.
const MANY_ITEMS: usize = 16;

/// The least number of items that makes packing weights for a single product worth it.
pub(super) const LEAST_ITEMS_OF_ONE: usize = 256;

/// Bytes of the largest weight that is packed for fewer than [`MANY_ITEMS`]: what an L2 cache holds. Larger ones are read
/// at the speed of memory in any order, and packing would double the memory of a model.
const LARGEST_FOR_FEW: usize = 2 << 20;

/// Bytes of the largest weight that each thread keeps in its L2 cache from step to step.
const LARGEST_IN_LOOP: usize = 1 << 20;

/// The least number of items that is worth a thread of its own.
const ITEMS_OF_THREAD: usize = 16;

/// The number of items whose tiles serve a usual batch of one: larger batches still have several rows.
const ITEMS_FOR_ONE: usize = 4;

/// Whether weights are packed: because they are fixed, or the same for all steps of a loop, and that is faster; or because
/// there are many items. The outputs must fill at least half of the lanes of their vectors.
pub(super) fn fits(lowering: &Lowering<'_>, node: &Node, weight: Weight) -> bool {
    let (x, operand, outputs) = (node.operands[0], node.operands[1], lowering.item(node.results[0])[0]);
    let vectors = lowering.vectors;
    let (items, inputs) = (lowering.usual_items(x), lowering.item(x)[0]);
    if 2 * outputs < outputs.next_multiple_of(vectors.lanes) {
        return false;
    }
    if !lowering.is_prepacked(operand) {
        return items >= LEAST_ITEMS_OF_ONE;
    }
    let is_faster = || {
        let block = tile(lowering, items, inputs, outputs, Shared::Outputs);
        let rows = BlockedRange::exact(items, block.rows.min(items));
        let columns = BlockedRange::exact(outputs, block.columns);
        let time = inputs * RegisterTile::time_of_all(vectors, &rows, &columns);
        let alternative = match weight {
            Weight::ByRows => RegisterTile::time_of_inner_products(vectors, items, outputs, inputs),
            // Sums in memory, which always take longer.
            Weight::ByColumns => usize::MAX,
        };
        // Threads share the blocks of outputs.
        columns.blocks() >= lowering.options.threads && time < alternative
    };
    items >= MANY_ITEMS || 4 * inputs * outputs <= LARGEST_FOR_FEW && is_faster()
}

/// How a product reads the weight, a matrix `[outputs, inputs]` of a dense layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Each row produces one column of the result: `y = x·weightᵀ`.
    ByRows,
    /// Each column produces one column of the result: `dx = g·weight`.
    ByColumns,
}

/// Adds the kernels of a product of the first operand and the second, the weight, with an epilogue.
pub(super) fn lower(lowering: &mut Lowering<'_>, node: &Node, weight: Weight, epilogue: &FusedSteps<'_>) {
    let inputs = lowering.item(node.operands[0])[0];
    let outputs = lowering.item(node.results[0])[0];
    let (x, y) = (lowering.address(node.operands[0]), lowering.address(node.results[0]));
    let items = lowering.usual_items(node.operands[0]);
    let shared = Shared::of(lowering, node.operands[1], items, inputs, outputs);
    let block = tile(lowering, items, inputs, outputs, shared);
    let range = BlockedRange::exact(outputs, block.columns.min(outputs));
    let packed = pack(lowering, node, weight, &range, inputs);
    let note = format!("outer products with packed weights: {} items by {} outputs", block.rows, range.size);
    let mut draft = lowering.draft(node, note);
    let index = draft.var();
    // Smaller tiles for the items that are left over: each size divides the one before. Few items have single rows, which
    // take less code.
    let divisor = if items < MANY_ITEMS { block.rows } else { 2 };
    let rows: Vec<usize> =
        std::iter::successors(Some(block.rows), |&rows| (rows > 1).then_some(rows / divisor)).collect();
    // The first item of a thread's chunk, if threads divide the items.
    let first = (shared == Shared::Items).then(|| draft.var());
    let mut tiles = |start: &Affine, columns: usize| {
        let tile = |n: Var, rows: usize| {
            let item = |address: Address, size: usize| {
                first.iter().fold(address, |address, &first| address.plus(first, size)).plus(n, size)
            };
            let element = |view: &View| (item(view.address.clone().at(start, 1), outputs), outputs);
            let (mut steps, mut operands) = epilogue.of_tile(TileStep::AddPerColumn, start, element);
            repeat_last(&mut steps, &mut operands);
            vec![Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows,
                    columns,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(inputs),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(inputs), left: 1, right: columns }],
                    start: Start::Zero,
                    prefetch: 0,
                    epilogue: steps,
                    output_row: outputs,
                },
                left: item(x.clone(), inputs),
                right: packed.clone().at(start, inputs),
                output: item(y.clone().at(start, 1), outputs),
                operands,
                counts: Vec::new(),
            }))]
        };
        match first {
            Some(_) => over_chunk(&mut draft, &rows, tile),
            None => over_batch(&mut draft, &rows, tile),
        }
    };
    let (split, body) = match first {
        Some(first) => (Split::Lanes(first, lowering.batch().extent()), range.sequence(index, tiles)),
        None => (Split::Axes(vec![(index, Extent::Fixed(range.blocks()))]), range.branch(index, &mut tiles)),
    };
    lowering.push(draft.finish(split, body));
}

/// What threads divide among themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Outputs,
    Items,
}

impl Shared {
    /// In the steps of a loop, each thread finds its items in its own cache, as it has computed them in the step before, if
    /// that cache also holds the whole weight.
    fn of(lowering: &Lowering<'_>, weight: ValueId, items: usize, inputs: usize, outputs: usize) -> Shared {
        let threads = lowering.options.threads;
        let are_items = threads > 1
            && lowering.is_fixed_in_loop(weight)
            && items >= ITEMS_OF_THREAD * threads
            && 4 * inputs * outputs <= LARGEST_IN_LOOP;
        if are_items { Shared::Items } else { Shared::Outputs }
    }
}

/// The fastest register tile whose rows are a power of two.
fn tile(
    lowering: &Lowering<'_>,
    items: usize,
    inputs: usize,
    outputs: usize,
    shared: Shared,
) -> RegisterTile {
    // Rows a multiple of 4096 bytes apart share one set of an L1 cache, which holds eight lines.
    let most = if (4 * inputs).is_multiple_of(4096) { 4 } else { usize::MAX };
    let vectors = lowering.vectors;
    let items = if items == 1 { ITEMS_FOR_ONE } else { items };
    let threads = lowering.options.threads;
    let (items, outputs) = match shared {
        Shared::Outputs => (items, outputs.div_ceil(threads)),
        Shared::Items => (items.div_ceil(threads), outputs),
    };
    let time = |block: &RegisterTile| {
        let rows = BlockedRange::exact(items, block.rows);
        let columns = BlockedRange::exact(outputs, block.columns);
        RegisterTile::time_of_all(vectors, &rows, &columns)
    };
    let fits = |block: &RegisterTile| block.rows.is_power_of_two() && block.rows <= most.min(items);
    let least = RegisterTile { rows: 1, columns: vectors.lanes };
    RegisterTile::all(vectors).filter(fits).min_by_key(time).unwrap_or(least)
}

/// Adds the kernel that packs the weight: for each block of outputs the inputs, each with the weights of the block's outputs
/// side by side.
fn pack(
    lowering: &mut Lowering<'_>,
    node: &Node,
    weight: Weight,
    range: &BlockedRange,
    inputs: usize,
) -> Address {
    let from = lowering.address(node.operands[1]);
    let outputs = lowering.item(node.results[0])[0];
    let (of_input, of_output) = match weight {
        Weight::ByRows => (1, inputs),
        Weight::ByColumns => (outputs, 1),
    };
    let packed = Address::start(lowering.temporary("packed weight", Size::fixed(inputs * outputs)));
    let mut draft = lowering.draft(node, "weights in the order in which tiles read them").part("pack");
    let (index, input) = (draft.var(), draft.var());
    let body = range.branch(index, |start, columns| {
        let mut map = MapBuilder::new(Extent::Fixed(columns));
        let value = map.load(from.clone().at(start, of_output).plus(input, of_input), of_output);
        map.store(packed.clone().at(start, inputs).plus(input, columns), 1, value);
        vec![Stmt::repeat(input, Extent::Fixed(inputs), vec![map.finish()])]
    });
    let kernel = draft.finish(Split::Axes(vec![(index, Extent::Fixed(range.blocks()))]), body);
    lowering.push_derived(node.operands[1], kernel);
    packed
}
