//! Convolution and its gradients on planes (channels first), as products over panels of patches.
//!
//! A panel holds the patches of a few output rows (im2col tiling: the patches of an image never exist as a whole unless
//! asked for). Forward, the weight meets the panel; backward to the weight, the gradient meets the same panel; backward
//! to the input, the product *is* a panel, whose elements are added to the places they came from (col2im).

use super::panels::{Geometry, Loops, Panel};
use super::{Conv, ConvGradInput, ConvGradWeight};
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall,
    TileStep,
};
use crate::ops::epilogue::EpilogueStep;
use crate::plan::{Block, Cover, KernelDraft, Lowering, Size, fill};

/// The epilogue of a fused convolution as steps of a tile, and where its operands are for a channel and a place.
pub(super) fn epilogue(
    steps: &[EpilogueStep],
    operands: &[Address],
    channel: &Affine,
    element: &Affine,
    positions: usize,
) -> (Vec<TileStep>, Vec<Address>) {
    let mut taken = operands.iter();
    let mut addresses = Vec::new();
    let steps = steps
        .iter()
        .map(|step| match step {
            EpilogueStep::Bias => {
                addresses.extend(taken.next().map(|at| at.clone().at(channel, 1)));
                TileStep::AddPerRow
            }
            EpilogueStep::Add => {
                addresses.extend(taken.next().map(|at| at.clone().at(element, 1)));
                TileStep::AddElement { row: positions }
            }
            EpilogueStep::Relu => TileStep::Relu,
            EpilogueStep::Sigmoid => TileStep::Sigmoid,
            EpilogueStep::Tanh => TileStep::Tanh,
        })
        .collect();
    (steps, addresses)
}

/// The tiles of a product, column by column. `tile` gets the first row and how many there are, and the same of columns.
fn tiles(
    draft: &mut KernelDraft,
    rows: &Cover,
    columns: &Cover,
    tile: impl Fn((&Affine, usize), (&Affine, usize)) -> TileCall,
) -> Vec<Stmt> {
    let (row_tile, column_tile) = (draft.var(), draft.var());
    columns.sequence(column_tile, |column, width| {
        rows.sequence(row_tile, |row, height| {
            vec![Stmt::Tile(Box::new(tile((row, height), (column, width))))]
        })
    })
}

/// Forward, channels first.
pub(super) fn conv(op: &Conv, lowering: &mut Lowering<'_>, node: &Node) {
    lowering.operands_in_order(node);
    let input = lowering.item(node.operands[0]);
    let channels = lowering.item(node.results[0])[0];
    let vectors = lowering.vectors;
    let geometry = Geometry::new(&op.window, op.groups, &input, channels);
    let pointwise = geometry.is_pointwise();
    let panels = geometry.panels(lowering.options.im2col, vectors);
    let (patch, positions, panel_stride) = (geometry.patch(), geometry.positions(), panels.stride);
    let block = Block::choose(vectors, geometry.outputs, panels.rows.size * panels.columns.size);
    let note = if pointwise {
        "1x1: a product on the input itself".to_owned()
    } else {
        format!(
            "im2col panels of {}x{} patches, {} bytes; tiles of {} channels by {} outputs",
            panels.rows.size,
            panels.columns.size,
            4 * patch * panel_stride,
            block.rows,
            block.columns
        )
    };
    let mut draft = lowering.draft(node, note);
    let loops = Loops::new(&mut draft, &geometry);
    let (n, group) = (loops.n, loops.group);
    let weight = lowering.address(node.operands[1]);
    let y = lowering.address(node.results[0]);
    let operands: Vec<Address> = node.operands[2..].iter().map(|&value| lowering.address(value)).collect();
    let gathered = (!pointwise).then(|| lowering.scratch("panel", patch * panel_stride));
    let panel_loops = loops.of_panels(&panels);
    let count = panel_loops.iter().map(|&(_, extent)| extent).product();
    let (mut body, planes) = geometry.padded_item(lowering, node, &mut draft, node.operands[0], (n, count));
    let on_panel = |draft: &mut KernelDraft, panel: &Panel<'_>| {
        let group_planes = planes.clone().plus(group, geometry.inputs * geometry.planes.padded_elements());
        let first = geometry.output_offset(&loops.outer, panel);
        let (mut stmts, right) =
            geometry.patches_of(draft, &loops.outer, panel, &group_planes, gathered, panel_stride);
        let rows = Cover::exact(geometry.outputs, block.rows);
        // Blocks that overlap would add what is in the result's own memory twice.
        let is_in_place = operands.iter().any(|operand| operand.buffer == y.buffer);
        let columns = match is_in_place {
            true => Cover::exact(panel.width(), block.columns),
            false => Cover::overlapping(panel.width(), block.columns, vectors.lanes),
        };
        stmts.extend(tiles(draft, &rows, &columns, |(row, height), (column, width)| {
            let channel = row.clone().plus(group, geometry.outputs);
            let element = Affine::default()
                .plus(n, channels * positions)
                .plus_scaled(&channel, positions)
                .plus_scaled(&first, 1)
                .plus_scaled(column, 1);
            let (steps, addresses) = epilogue(&op.epilogue, &operands, &channel, &element, positions);
            TileCall {
                tile: Tile {
                    rows: height,
                    columns: width,
                    form: Form::Broadcast,
                    left_rows: Rows::evenly(patch),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(patch), left: 1, right: panel_stride }],
                    start: Start::Zero,
                    prefetch: 0,
                    epilogue: steps,
                    output_row: positions,
                },
                left: weight.clone().at(&channel, patch),
                right: right.clone().at(column, 1),
                output: y.clone().at(&element, 1),
                operands: addresses,
                counts: Vec::new(),
            }
        }));
        vec![Stmt::repeat(group, Extent::Fixed(geometry.groups), stmts)]
    };
    body.extend(panels.branch(&loops, |panel| on_panel(&mut draft, panel)));
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(panel_loops.iter().map(|&(var, extent)| (var, Extent::Fixed(extent))));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// The gradient to the input, channels first.
pub(super) fn grad_input(op: &ConvGradInput, lowering: &mut Lowering<'_>, node: &Node) {
    lowering.operands_in_order(node);
    let input = lowering.item(node.results[0]);
    let channels = lowering.item(node.operands[0])[0];
    let vectors = lowering.vectors;
    let geometry = Geometry::new(&op.window, op.groups, &input, channels);
    let pointwise = geometry.is_pointwise();
    let panels = geometry.panels(lowering.options.im2col, vectors);
    let (patch, positions, panel_stride) = (geometry.patch(), geometry.positions(), panels.stride);
    let block = Block::choose(vectors, patch, panels.rows.size * panels.columns.size);
    let note = if pointwise {
        "1x1: a product into the gradient itself".to_owned()
    } else {
        format!("panels of {}x{} patches, added back", panels.rows.size, panels.columns.size)
    };
    let mut draft = lowering.draft(node, note);
    let loops = Loops::new(&mut draft, &geometry);
    let (n, group) = (loops.n, loops.group);
    let g = lowering.address(node.operands[0]).plus(n, channels * positions);
    let weight = lowering.address(node.operands[1]);
    let elements: usize = input.iter().product();
    let dx = lowering.address(node.results[0]).plus(n, elements);
    let padded_elements = input[0] * geometry.planes.padded_elements();
    let planes = if op.window.is_padded() {
        Address::start(lowering.scratch("padded", padded_elements))
    } else {
        dx.clone()
    };
    let panel_buffer = (!pointwise).then(|| lowering.scratch("panel", patch * panel_stride));
    let on_panel = |draft: &mut KernelDraft, panel: &Panel<'_>| {
        let group_planes = planes.clone().plus(group, geometry.inputs * geometry.planes.padded_elements());
        let first = geometry.output_offset(&loops.outer, panel);
        let product = match panel_buffer {
            Some(buffer) => Address::start(buffer),
            None => group_planes.clone().at(&first, 1),
        };
        let rows = Cover::exact(patch, block.rows);
        let columns = Cover::overlapping(panel.width(), block.columns, vectors.lanes);
        let mut stmts = tiles(draft, &rows, &columns, |(row, height), (column, width)| TileCall {
            tile: Tile {
                rows: height,
                columns: width,
                form: Form::Broadcast,
                left_rows: Rows::evenly(1),
                right_column: 1,
                reduction: vec![Reduction { count: Some(geometry.outputs), left: patch, right: positions }],
                start: Start::Zero,
                prefetch: 0,
                epilogue: Vec::new(),
                output_row: panel_stride,
            },
            left: weight.clone().plus(group, geometry.outputs * patch).at(row, 1),
            right: g.clone().plus(group, geometry.outputs * positions).at(&first, 1).at(column, 1),
            output: product.clone().at(row, panel_stride).at(column, 1),
            operands: Vec::new(),
            counts: Vec::new(),
        });
        if !pointwise {
            stmts.extend(geometry.scatter(draft, &loops.outer, panel, &product, &group_planes, panel_stride));
        }
        vec![Stmt::repeat(group, Extent::Fixed(geometry.groups), stmts)]
    };
    let panel_body = panels.branch(&loops, |panel| on_panel(&mut draft, panel));
    let mut body = Vec::new();
    if !pointwise {
        body.push(fill(planes.clone(), padded_elements, 0.0));
    }
    body.extend(Stmt::nest(&loops.of_panels(&panels), panel_body));
    if op.window.is_padded() {
        body.extend(geometry.planes.unpad(&mut draft, input[0], &planes, &dx));
    }
    lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
}

/// The gradient to the weight, channels first.
pub(super) fn grad_weight(op: &ConvGradWeight, lowering: &mut Lowering<'_>, node: &Node) {
    lowering.operands_in_order(node);
    let input = lowering.item(node.operands[1]);
    let channels = lowering.item(node.operands[0])[0];
    let vectors = lowering.vectors;
    let geometry = Geometry::new(&op.window, op.groups, &input, channels);
    let pointwise = geometry.is_pointwise();
    let panels = geometry.panels(lowering.options.im2col, vectors);
    let (patch, positions, panel_stride) = (geometry.patch(), geometry.positions(), panels.stride);
    let elements = channels * patch;
    let threads = lowering.options.threads;
    let mut draft = lowering.draft(
        node,
        format!("panels of {}x{} patches, dot products along them", panels.rows.size, panels.columns.size),
    );
    let loops = Loops::new(&mut draft, &geometry);
    let (n, group) = (loops.n, loops.group);
    let g = lowering.address(node.operands[0]).plus(n, channels * positions);
    let partials: Option<BufferId> =
        (threads > 1).then(|| lowering.temporary("partial sums", Size::fixed(threads * elements)));
    let sums = match partials {
        Some(partials) => Address::start(partials).plus(draft.thread(), elements),
        None => lowering.address(node.results[0]),
    };
    draft.setup(vec![fill(sums.clone(), elements, 0.0)]);
    let gathered = (!pointwise).then(|| lowering.scratch("panel", patch * panel_stride));
    // Each item's panels are gathered by one thread, one after the other: scratch serves them all.
    let (mut body, planes) = geometry.padded_item(lowering, node, &mut draft, node.operands[1], (n, 1));
    let on_panel = |draft: &mut KernelDraft, panel: &Panel<'_>| {
        let group_planes = planes.clone().plus(group, geometry.inputs * geometry.planes.padded_elements());
        let first = geometry.output_offset(&loops.outer, panel);
        let (mut stmts, right) =
            geometry.patches_of(draft, &loops.outer, panel, &group_planes, gathered, panel_stride);
        let dots = Block::of_dots(vectors);
        let rows = Cover::exact(geometry.outputs, dots.rows);
        let columns = Cover::exact(patch, dots.columns);
        stmts.extend(tiles(draft, &rows, &columns, |(row, height), (column, width)| {
            let channel = row.clone().plus(group, geometry.outputs);
            TileCall {
                tile: Tile {
                    rows: height,
                    columns: width,
                    form: Form::Dot,
                    left_rows: Rows::evenly(positions),
                    right_column: panel_stride,
                    reduction: vec![Reduction { count: Some(panel.width()), left: 1, right: 1 }],
                    start: Start::Stored,
                    prefetch: 0,
                    epilogue: Vec::new(),
                    output_row: patch,
                },
                left: g.clone().at(&channel, positions).at(&first, 1),
                right: right.clone().at(column, panel_stride),
                output: sums.clone().at(&channel, patch).at(column, 1),
                operands: Vec::new(),
                counts: Vec::new(),
            }
        }));
        vec![Stmt::repeat(group, Extent::Fixed(geometry.groups), stmts)]
    };
    let panel_body = panels.branch(&loops, |panel| on_panel(&mut draft, panel));
    body.extend(Stmt::nest(&loops.of_panels(&panels), panel_body));
    lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
    if let Some(partials) = partials {
        add_partials(lowering, node, partials, threads, elements);
    }
}

/// Adds up what the threads summed on their own, always in the same order.
fn add_partials(
    lowering: &mut Lowering<'_>,
    node: &Node,
    partials: BufferId,
    threads: usize,
    elements: usize,
) {
    let mut draft = lowering.draft(node, "sums of the threads' parts").part("sum");
    let first = draft.var();
    let mut map = MapBuilder::new(Extent::Share);
    let mut sum = map.load(Address::start(partials).plus(first, 1), 1);
    for thread in 1..threads - usize::from(armed(Fault::WrongPartialSum)) {
        let part = map.load(Address::start(partials).offset(thread * elements).plus(first, 1), 1);
        sum = map.add(sum, part);
    }
    map.store(lowering.address(node.results[0]).plus(first, 1), 1, sum);
    lowering.push(draft.finish(Split::Lanes(first, Extent::Fixed(elements)), vec![map.finish()]));
}
