//! The gradient of a convolution to its weight by Winograd's method, on images with their channels last: with `y = Aᵀ((G·w·Gᵀ) ∘
//! (Bᵀ·x·B))A`, the gradient is `Gᵀ(Σ (A·g·Aᵀ) ∘ (Bᵀ·x·B))G`, the sum over all tiles of all items. Input and gradient are
//! transformed for the whole batch; then every place of a tile is a product of its own, reduced over the tiles.

use super::transform::Filtering;
use super::winograd::{plane, possible};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Expr, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile,
    TileCall, Var,
};
use crate::ops::bordered::{Axis, Bordered};
use crate::plan::{Block, Cover, KernelDraft, Lowering, Size, Vectors, Verdict, View, copy_span, fill};

/// A gradient to a weight that Winograd's method can do.
pub(super) struct WinogradGradient {
    filtering: Filtering,
    axes: [Axis; 2],
    x: View,
    g: View,
    /// Inputs and outputs of a tile of the product.
    block: Block,
    /// The time it takes, in sixteenths of a cycle of one item.
    pub(super) time: usize,
}

impl WinogradGradient {
    /// How to do it with so many results along an axis, or why it cannot be done.
    pub(super) fn new(
        axes: [Axis; 2],
        groups: usize,
        (x, g): (&View, &View),
        vectors: Vectors,
        results: usize,
    ) -> Result<Self, Verdict> {
        possible(&axes, groups, x.layout)?;
        let costs = vectors.costs;
        let filtering = Filtering { results, taps: axes[0].taps };
        let block = Block::choose(vectors, x.channels, g.channels);
        let products = filtering.products() * filtering.products();
        let tiles: usize = axes.iter().map(|axis| axis.outputs.div_ceil(results)).product();
        let multiply = Block::time_of_all(
            vectors,
            &Cover::exact(x.channels, block.rows),
            &Cover::exact(g.channels, block.columns),
        );
        let in_vectors = |channels: usize| channels.div_ceil(vectors.lanes);
        // Sums are loaded and stored once for each item.
        let sums = 2 * usize::from(costs.load) * x.channels * in_vectors(g.channels);
        let transform =
            usize::from(costs.gradient_transform) * (in_vectors(x.channels) + in_vectors(g.channels));
        let time = products * (tiles * (multiply + transform) + sums);
        Ok(WinogradGradient { filtering, axes, x: x.clone(), g: g.clone(), block, time })
    }

    /// What was chosen, in words.
    pub(super) fn note(&self) -> String {
        let Filtering { results, taps } = self.filtering;
        format!(
            "Winograd F({results}x{results}, {taps}x{taps}): sums over tiles of {} inputs by {} outputs",
            self.block.rows, self.block.columns
        )
    }

    fn side(&self) -> usize {
        self.filtering.products()
    }

    fn products(&self) -> usize {
        self.side() * self.side()
    }

    fn tile_counts(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.outputs.div_ceil(self.filtering.results))
    }

    /// Tiles of an item.
    fn tiles(&self) -> usize {
        self.tile_counts().iter().product()
    }

    /// Adds the kernels that leave the sums as `[block of outputs][input][tap][output]`, blocks as `columns` says.
    pub(super) fn lower(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        sums: BufferId,
        columns: Cover,
        note: String,
    ) {
        let transformed = |lowering: &mut Lowering<'_>, name: &str, channels: usize| {
            let elements = self.products() * plane(self.tiles(), channels);
            lowering.temporary(name, lowering.batch().size(elements))
        };
        let inputs = transformed(lowering, "transformed input", self.x.channels);
        let gradients = transformed(lowering, "transformed gradient", self.g.channels);
        let spectra = self.products() * self.x.channels * self.g.channels;
        let products = lowering.temporary("products", Size::fixed(spectra));
        self.transform_inputs(lowering, node, inputs);
        self.transform_gradients(lowering, node, gradients);
        let draft = lowering.draft(node, note);
        self.multiply(lowering, draft, (inputs, gradients, products), columns);
        self.transform_sums(lowering, node, products, sums, columns);
    }

    fn transform_inputs(&self, lowering: &mut Lowering<'_>, node: &Node, to: BufferId) {
        let [down, across] = self.tile_counts();
        let (m, side, channels) = (self.filtering.results, self.side(), self.x.channels);
        let mut draft = lowering.draft(node, "Winograd's transform of the input").part("input");
        let (n, row, column) = (draft.var(), draft.var(), draft.var());
        let axes = [Axis { outputs: down * m, ..self.axes[0] }, Axis { outputs: across * m, ..self.axes[1] }];
        let bordered = Bordered { axes, x: self.x.clone(), border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, m);
        let first = Affine::default().plus(row, m);
        let (mut body, source) = bordered.rows(&mut draft, n, (&first, m), panel);
        let mut map = MapBuilder::new(Extent::Fixed(channels));
        let from = source.address.plus(column, m * source.pixel);
        let elements: Vec<_> = (0..side * side)
            .map(|place| {
                map.load(from.clone().offset(place / side * source.row + place % side * source.pixel), 1)
            })
            .collect();
        let distance = plane(self.tiles(), channels);
        let to = Address::start(to)
            .plus(n, self.products() * distance)
            .plus(row, across * channels)
            .plus(column, channels);
        for (product, value) in self.filtering.inputs(&mut map, &elements).into_iter().enumerate() {
            map.store(to.clone().offset(product * distance), 1, value);
        }
        body.push(Stmt::repeat(column, Extent::Fixed(across), vec![map.finish()]));
        let split = Split::Axes(vec![(n, lowering.batch().extent()), (row, Extent::Fixed(down))]);
        lowering.push(draft.finish(split, body));
    }

    fn transform_gradients(&self, lowering: &mut Lowering<'_>, node: &Node, to: BufferId) {
        let [down, across] = self.tile_counts();
        let (m, channels) = (self.filtering.results, self.g.channels);
        let [rows, columns] = self.axes;
        let mut draft = lowering.draft(node, "Winograd's transform of the gradient").part("gradient");
        let (n, row, column) = (draft.var(), draft.var(), draft.var());
        let distance = plane(self.tiles(), channels);
        let to = Address::start(to)
            .plus(n, self.products() * distance)
            .plus(row, across * channels)
            .plus(column, channels);
        let line = columns.outputs * self.g.pixel;
        let from = self.g.of_item(n).plus(row, m * line).plus(column, m * self.g.pixel);
        // The last tiles may have fewer results: the others are zero.
        let tile = |height: usize, width: usize| {
            let mut map = MapBuilder::new(Extent::Fixed(channels));
            let zero = map.expr(Expr::Constant(0.0));
            let elements: Vec<_> = (0..m * m)
                .map(|place| {
                    let (line_index, pixel) = (place / m, place % m);
                    if line_index < height && pixel < width {
                        map.load(from.clone().offset(line_index * line + pixel * self.g.pixel), 1)
                    } else {
                        zero
                    }
                })
                .collect();
            for (product, value) in self.filtering.gradients(&mut map, &elements).into_iter().enumerate() {
                map.store(to.clone().offset(product * distance), 1, value);
            }
            map.finish()
        };
        let [last_row, last_column] =
            [(rows, down), (columns, across)].map(|(axis, tiles)| axis.outputs - m * (tiles - 1));
        let branch = |var: Var, count: usize, below: Vec<Stmt>, rest: Vec<Stmt>| Stmt::Branch {
            value: var.into(),
            bound: count as i64 - 1,
            below,
            rest,
        };
        let along = |height: usize| {
            let body = if last_column == m {
                vec![tile(height, m)]
            } else {
                vec![branch(column, across, vec![tile(height, m)], vec![tile(height, last_column)])]
            };
            vec![Stmt::repeat(column, Extent::Fixed(across), body)]
        };
        let body = if last_row == m { along(m) } else { vec![branch(row, down, along(m), along(last_row))] };
        let split = Split::Axes(vec![(n, lowering.batch().extent()), (row, Extent::Fixed(down))]);
        lowering.push(draft.finish(split, body));
    }

    /// One product for each place of a tile. Both operands are first brought together by blocks, since tiles far apart
    /// compete for the same sets of a cache.
    fn multiply(
        &self,
        lowering: &mut Lowering<'_>,
        mut draft: KernelDraft,
        (inputs, gradients, products): (BufferId, BufferId, BufferId),
        columns: Cover,
    ) {
        let (tiles, x, g) = (self.tiles(), self.x.channels, self.g.channels);
        let rows = Cover::exact(x, x.div_ceil(x.div_ceil(self.block.rows)));
        let (product, n, tile) = (draft.var(), draft.var(), draft.var());
        let (row_block, column_block) = (draft.var(), draft.var());
        let left = Address::start(lowering.scratch("inputs", tiles * x));
        let right = Address::start(lowering.scratch("gradients", tiles * columns.size.min(g)));
        let place = |buffer: BufferId, channels: usize| {
            let distance = plane(tiles, channels);
            Address::start(buffer).plus(n, self.products() * distance).plus(product, distance)
        };
        let pack = |from: Address, first: &Affine, pixel: usize, to: Address, width: usize| {
            let from = from.at(first, 1).plus(tile, pixel);
            Stmt::repeat(tile, Extent::Fixed(tiles), vec![copy_span(from, 1, to.plus(tile, width), width)])
        };
        let result = Address::start(products).plus(product, x * g);
        let mut item = rows.sequence(row_block, |first, count| {
            vec![pack(place(inputs, x), first, x, left.clone().at(first, tiles), count)]
        });
        item.extend(columns.sequence(column_block, |first, width| {
            let mut stmts = vec![pack(place(gradients, g), first, g, right.clone(), width)];
            stmts.extend(rows.sequence(row_block, |input, count| {
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows: count,
                        columns: width,
                        form: Form::Broadcast,
                        left_rows: Rows::evenly(1),
                        right_column: 1,
                        reduction: vec![Reduction { count: Some(tiles), left: count, right: width }],
                        start: Start::Stored,
                        prefetch: 0,
                        epilogue: Vec::new(),
                        output_row: width,
                    },
                    left: left.clone().at(input, tiles),
                    right: right.clone(),
                    output: result.clone().at(first, x).at(input, width),
                    operands: Vec::new(),
                    counts: Vec::new(),
                }))]
            }));
            stmts
        }));
        let body = vec![fill(result.clone(), x * g, 0.0), Stmt::repeat(n, lowering.batch().extent(), item)];
        let split = Split::Axes(vec![(product, Extent::Fixed(self.products()))]);
        lowering.push(draft.finish(split, body));
    }

    fn transform_sums(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        products: BufferId,
        sums: BufferId,
        columns: Cover,
    ) {
        let (x, g) = (self.x.channels, self.g.channels);
        let taps = self.filtering.taps * self.filtering.taps;
        let mut draft = lowering.draft(node, "back to taps").part("taps");
        let (block, input) = (draft.var(), draft.var());
        let body = columns.branch(block, |first, width| {
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let from = Address::start(products).at(first, x).plus(input, width);
            let elements: Vec<_> = (0..self.products())
                .map(|product| map.load(from.clone().offset(product * x * g), 1))
                .collect();
            let to = Address::start(sums).at(first, x * taps).plus(input, taps * width);
            for (tap, value) in self.filtering.weight_gradients(&mut map, &elements).into_iter().enumerate() {
                map.store(to.clone().offset(tap * width), 1, value);
            }
            vec![map.finish()]
        });
        let axes = vec![(block, Extent::Fixed(columns.blocks())), (input, Extent::Fixed(x))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}
