//! Convolution and its gradients in NCHW layout, as products with panels of patches.
//!
//! A panel holds the patches of a few output rows (im2col in tiles: the patches of a whole image exist only if the
//! options ask for it). The forward pass multiplies the weight by the panel. The gradient with respect to the weight
//! multiplies the gradient by the same panel. The gradient with respect to the input computes a panel, whose elements
//! are added to the pixels that they belong to (col2im).

mod panels;

use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall,
    TileStep,
};
use crate::ops::conv::correlation::Correlation;
use crate::ops::conv::input_gradient::InputGradient;
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::window_walk::Axis;
use crate::plan::{BlockedRange, KernelDraft, Lowering, RegisterTile, Size, Vectors, View, fill};
use panels::{Geometry, Loops, Panel, Panels};

/// A product with panels, in any of the three directions.
struct Product {
    geometry: Geometry,
    panels: Panels,
    vectors: Vectors,
    /// Elements of a patch, and of an output channel.
    patch: usize,
    results: usize,
    /// Whether the input itself is the panel.
    pointwise: bool,
}

impl Product {
    /// A product for the axes of a convolution, its groups, and the input and output channels of each group.
    fn new(lowering: &Lowering<'_>, axes: &[Axis], groups: usize, channels: [usize; 2]) -> Self {
        let geometry = Geometry::new(axes, groups, channels);
        let panels = geometry.panels(lowering.options.im2col, lowering.vectors);
        let (patch, results, pointwise) = (geometry.patch(), geometry.results(), geometry.is_pointwise());
        Product { geometry, panels, vectors: lowering.vectors, patch, results, pointwise }
    }

    /// The register tile of a product of `rows` rows with a panel's columns.
    fn block(&self, rows: usize) -> RegisterTile {
        RegisterTile::choose(self.vectors, rows, self.panels.rows.size * self.panels.columns.size)
    }

    /// The columns of a panel. Blocks may overlap unless the addend shares the result's memory: overlapping columns
    /// would add it twice.
    fn columns(&self, panel: &Panel<'_>, block: RegisterTile, is_in_place: bool) -> BlockedRange {
        match is_in_place {
            true => BlockedRange::exact(panel.width(), block.columns),
            false => BlockedRange::overlapping(panel.width(), block.columns, self.vectors.lanes),
        }
    }

    /// Scratch for a panel, unless the input is the panel.
    fn panel(&self, lowering: &mut Lowering<'_>) -> Option<BufferId> {
        (!self.pointwise).then(|| lowering.scratch("panel", self.patch * self.panels.stride))
    }

    /// Code for the panel given by the variables, for each group of channels: `body` gets the panel, the group's first
    /// channel in the padded input, and the offset of the panel's first output in an output channel.
    fn branch(
        &self,
        loops: &Loops,
        input: &Address,
        mut body: impl FnMut(&Panel<'_>, &Address, &Affine) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let channel = self.geometry.input.padded_elements();
        let input = input.clone().plus(loops.group, self.geometry.inputs * channel);
        self.panels.branch(loops, |panel| {
            let first = self.geometry.output_offset(&loops.outer, panel);
            let groups = Extent::Fixed(self.geometry.groups);
            vec![Stmt::repeat(loops.group, groups, body(panel, &input, &first))]
        })
    }
}

/// The tiles of a product, column by column. `tile` gets the first row and the number of rows, and the same for
/// columns.
fn tiles(
    draft: &mut KernelDraft,
    rows: &BlockedRange,
    columns: &BlockedRange,
    tile: impl Fn((&Affine, usize), (&Affine, usize)) -> TileCall,
) -> Vec<Stmt> {
    let (row_tile, column_tile) = (draft.var(), draft.var());
    columns.sequence(column_tile, |column, width| {
        rows.sequence(row_tile, |row, height| {
            vec![Stmt::Tile(Box::new(tile((row, height), (column, width))))]
        })
    })
}

/// The forward pass.
pub(in crate::ops::conv) fn forward(problem: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    let node = problem.node;
    let product = Product::new(lowering, &problem.axes, problem.groups, [problem.inputs, problem.outputs]);
    let (geometry, panels, patch, results) =
        (&product.geometry, &product.panels, product.patch, product.results);
    let block = product.block(geometry.outputs);
    let note = if product.pointwise {
        "1x1: a product on the input itself".to_owned()
    } else {
        format!(
            "im2col panels of {}x{} patches, {} bytes; tiles of {} channels by {} outputs",
            panels.rows.size,
            panels.columns.size,
            4 * patch * panels.stride,
            block.rows,
            block.columns
        )
    };
    let mut draft = problem.draft(lowering, note);
    let loops = Loops::new(&mut draft, geometry);
    let (n, group) = (loops.n, loops.group);
    let weight = lowering.address(problem.weight.value);
    let y = &problem.y;
    let gathered = product.panel(lowering);
    let panel_loops = loops.of_panels(panels);
    let count = panel_loops.iter().map(|&(_, extent)| extent).product();
    let (mut body, input) = geometry.padded_item(lowering, node, &mut draft, &problem.x, (n, count));
    let is_in_place = problem.epilogue.reads(y.address.buffer);
    body.extend(product.branch(&loops, &input, |panel, input, first| {
        let (mut stmts, right) =
            geometry.patches_of(&mut draft, &loops.outer, panel, input, gathered, panels.stride);
        let rows = BlockedRange::exact(geometry.outputs, block.rows);
        let columns = product.columns(panel, block, is_in_place);
        stmts.extend(tiles(&mut draft, &rows, &columns, |(row, height), (column, width)| {
            let channel = row.clone().plus(group, geometry.outputs);
            let element =
                Affine::default().plus_scaled(&channel, results).plus_scaled(first, 1).plus_scaled(column, 1);
            let (epilogue, operands) = problem
                .epilogue
                .of_tile(TileStep::AddPerRow, &channel, |view| (view.of_item(n).at(&element, 1), results));
            TileCall {
                tile: Tile {
                    rows: height,
                    columns: width,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(patch),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(patch), left: 1, right: panels.stride }],
                    start: Start::Zero,
                    prefetch: 0,
                    epilogue,
                    output_row: results,
                },
                left: weight.clone().at(&channel, patch),
                right: right.clone().at(column, 1),
                output: y.of_item(n).at(&element, 1),
                operands,
                counts: Vec::new(),
            }
        }));
        stmts
    }));
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(panel_loops.iter().map(|&(var, extent)| (var, Extent::Fixed(extent))));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// The gradient with respect to the input.
pub(in crate::ops::conv) fn input_gradient(problem: &InputGradient<'_>, lowering: &mut Lowering<'_>) {
    let product = Product::new(lowering, &problem.axes, problem.groups, [problem.inputs, problem.outputs]);
    let (geometry, panels, patch, results) =
        (&product.geometry, &product.panels, product.patch, product.results);
    let block = product.block(patch);
    let note = if product.pointwise {
        "1x1: a product into the gradient itself".to_owned()
    } else {
        format!("panels of {}x{} patches, added back", panels.rows.size, panels.columns.size)
    };
    let mut draft = lowering.draft(problem.node, note);
    let loops = Loops::new(&mut draft, geometry);
    let (n, group) = (loops.n, loops.group);
    let g = problem.g.of_item(n);
    let weight = lowering.address(problem.weight);
    let dx = problem.dx.of_item(n);
    let channels = problem.dx.channels();
    let elements = channels * geometry.input.padded_elements();
    // Sums with an epilogue use separate memory, because the result's own memory may hold the addend.
    let is_apart = geometry.input.is_padded() || !(product.pointwise || problem.epilogue.is_empty());
    let to = match is_apart {
        true => Address::start(lowering.scratch("padded", elements)),
        false => dx.clone(),
    };
    let is_in_place = problem.epilogue.reads(dx.buffer);
    let panel_buffer = product.panel(lowering);
    let panel_body = product.branch(&loops, &to, |panel, to, first| {
        let output = match panel_buffer {
            Some(buffer) => Address::start(buffer),
            None => to.clone().at(first, 1),
        };
        let rows = BlockedRange::exact(patch, block.rows);
        let columns = product.columns(panel, block, is_in_place);
        let mut stmts = tiles(&mut draft, &rows, &columns, |(row, height), (column, width)| {
            // Each sum of a 1×1 window is a result.
            let channel = row.clone().plus(group, geometry.inputs);
            let element =
                |view: &View| (view.of_item(n).at(&channel, results).at(first, 1).at(column, 1), results);
            let (epilogue, operands) = match product.pointwise {
                true => problem.epilogue.of_tile(TileStep::AddPerRow, &channel, element),
                false => (Vec::new(), Vec::new()),
            };
            TileCall {
                tile: Tile {
                    rows: height,
                    columns: width,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(1),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(geometry.outputs), left: patch, right: results }],
                    start: Start::Zero,
                    prefetch: 0,
                    epilogue,
                    output_row: panels.stride,
                },
                left: weight.clone().plus(group, geometry.outputs * patch).at(row, 1),
                right: g.clone().plus(group, geometry.outputs * results).at(first, 1).at(column, 1),
                output: output.clone().at(row, panels.stride).at(column, 1),
                operands,
                counts: Vec::new(),
            }
        });
        if !product.pointwise {
            stmts.extend(geometry.scatter(&mut draft, &loops.outer, panel, &output, to, panels.stride));
        }
        stmts
    });
    let mut body = Vec::new();
    if !product.pointwise {
        body.push(fill(to.clone(), elements, 0.0));
    }
    body.extend(Stmt::nest(&loops.of_panels(panels), panel_body));
    if is_apart {
        body.extend(geometry.input.rows(&mut draft, channels, |channel, padded, plain, width| {
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let sum = map.load(to.clone().at(&padded, 1), 1);
            let mut epilogue = problem.epilogue.in_map(&channel.into(), 0);
            let value = epilogue.apply(&mut map, sum, |view| view.of_item(n).at(&plain, 1));
            map.store(dx.clone().at(&plain, 1), 1, value);
            map.finish()
        }));
    }
    lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
}

/// The gradient with respect to the weight.
pub(in crate::ops::conv) fn weight_gradient(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let node = problem.node;
    let product = Product::new(lowering, &problem.axes, problem.groups, [problem.inputs, problem.outputs]);
    let (geometry, panels, patch, results) =
        (&product.geometry, &product.panels, product.patch, product.results);
    let elements = problem.g.channels() * patch;
    let threads = lowering.options.threads;
    let note =
        format!("panels of {}x{} patches, inner products along them", panels.rows.size, panels.columns.size);
    let mut draft = lowering.draft(node, note);
    let loops = Loops::new(&mut draft, geometry);
    let (n, group) = (loops.n, loops.group);
    let g = problem.g.of_item(n);
    let partials: Option<BufferId> =
        (threads > 1).then(|| lowering.temporary("partial sums", Size::fixed(threads * elements)));
    let sums = match partials {
        Some(partials) => Address::start(partials).plus(draft.thread(), elements),
        None => lowering.address(node.results[0]),
    };
    draft.setup(vec![fill(sums.clone(), elements, 0.0)]);
    let gathered = product.panel(lowering);
    // One thread gathers the panels of each item one after the other, in the same scratch.
    let (mut body, input) = geometry.padded_item(lowering, node, &mut draft, &problem.x, (n, 1));
    let dots = RegisterTile::of_inner_products(lowering.vectors);
    let panel_body = product.branch(&loops, &input, |panel, input, first| {
        let (mut stmts, right) =
            geometry.patches_of(&mut draft, &loops.outer, panel, input, gathered, panels.stride);
        let rows = BlockedRange::exact(geometry.outputs, dots.rows);
        let columns = BlockedRange::exact(patch, dots.columns);
        stmts.extend(tiles(&mut draft, &rows, &columns, |(row, height), (column, width)| {
            let channel = row.clone().plus(group, geometry.outputs);
            TileCall {
                tile: Tile {
                    rows: height,
                    columns: width,
                    form: Form::InnerProduct,
                    left_rows: Rows::evenly(results),
                    right_column: panels.stride,
                    reduction: vec![Reduction { count: Some(panel.width()), left: 1, right: 1 }],
                    start: Start::Output,
                    prefetch: 0,
                    epilogue: Vec::new(),
                    output_row: patch,
                },
                left: g.clone().at(&channel, results).at(first, 1),
                right: right.clone().at(column, panels.stride),
                output: sums.clone().at(&channel, patch).at(column, 1),
                operands: Vec::new(),
                counts: Vec::new(),
            }
        }));
        stmts
    });
    body.extend(Stmt::nest(&loops.of_panels(panels), panel_body));
    lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
    if let Some(partials) = partials {
        add_partials(lowering, node, partials, threads, elements);
    }
}

/// Adds the partial sums of the threads, always in the same order.
fn add_partials(
    lowering: &mut Lowering<'_>,
    node: &Node,
    partials: BufferId,
    threads: usize,
    elements: usize,
) {
    let mut draft = lowering.draft(node, "sums of the threads' parts").part("sum");
    let first = draft.var();
    let mut map = MapBuilder::new(Extent::Chunk);
    let mut sum = map.load(Address::start(partials).plus(first, 1), 1);
    for thread in 1..threads - usize::from(armed(Fault::WrongPartialSum)) {
        let part = map.load(Address::start(partials).offset(thread * elements).plus(first, 1), 1);
        sum = map.add(sum, part);
    }
    map.store(lowering.address(node.results[0]).plus(first, 1), 1, sum);
    lowering.push(draft.finish(Split::Lanes(first, Extent::Fixed(elements)), vec![map.finish()]));
}
