//! The gradient of a convolution with respect to its weight with Winograd's algorithm, in NHWC layout. From
//! `y = Aᵀ((G·w·Gᵀ) ∘ (Bᵀ·x·B))A` follows the gradient `Gᵀ(Σ (A·g·Aᵀ) ∘ (Bᵀ·x·B))G`, the sum over all tiles of all
//! items. Input and gradient are transformed for the whole batch; then every position of a tile is a separate product,
//! reduced over the tiles.

use super::filtering::Filtering;
use super::possible;
use super::tiles::{Tiles, Transformed, place_distance};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Expr, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile,
    TileCall,
};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::halo::{Padded, Source};
use crate::plan::{
    BlockedRange, KernelDraft, Lowering, RegisterTile, Size, Vectors, Verdict, View, copy_span, fill,
};

/// A gradient with respect to a weight that Winograd's algorithm can compute.
pub(in crate::ops::conv) struct WinogradGradient {
    tiles: Tiles,
    x: View,
    g: View,
    /// The register tile of the product: inputs by outputs.
    block: RegisterTile,
    /// The time of one item, in sixteenths of a cycle.
    pub(in crate::ops::conv) time: usize,
}

impl WinogradGradient {
    /// The gradient with `results` results along an axis, or why it is not possible.
    pub(in crate::ops::conv) fn new(
        problem: &WeightGradient<'_>,
        vectors: Vectors,
        results: usize,
    ) -> Result<Self, Verdict> {
        let WeightGradient { x, g, .. } = problem;
        let tiles = possible(&problem.grid, problem.groups, &x.layout, results)?;
        let (costs, filtering) = (vectors.costs, tiles.filtering);
        let block = RegisterTile::choose(vectors, x.channels(), g.channels());
        let products = filtering.products() * filtering.products();
        let count: usize = tiles.counts().iter().product();
        let multiply = RegisterTile::time_of_all(
            vectors,
            &BlockedRange::exact(x.channels(), block.rows),
            &BlockedRange::exact(g.channels(), block.columns),
        );
        let in_vectors = |channels: usize| channels.div_ceil(vectors.lanes);
        // Each item loads and stores the sums once.
        let sums = 2 * usize::from(costs.load) * x.channels() * in_vectors(g.channels());
        let transform =
            usize::from(costs.gradient_transform) * (in_vectors(x.channels()) + in_vectors(g.channels()));
        let time = products * (count * (multiply + transform) + sums);
        Ok(WinogradGradient { tiles, x: x.clone(), g: g.clone(), block, time })
    }

    /// Describes the algorithm for the kernel's note.
    pub(in crate::ops::conv) fn note(&self) -> String {
        let Filtering { results, kernel_size } = self.tiles.filtering;
        format!(
            "Winograd F({results}x{results}, {kernel_size}x{kernel_size}): sums over tiles of {} inputs by {} outputs",
            self.block.rows, self.block.columns
        )
    }

    fn products(&self) -> usize {
        self.tiles.filtering.products() * self.tiles.filtering.products()
    }

    /// Tiles of an item.
    fn count(&self) -> usize {
        self.tiles.counts().iter().product()
    }

    /// Adds the kernels, which leave the sums as `[block of outputs][input][kernel position][output]` with the blocks
    /// of `columns`.
    pub(in crate::ops::conv) fn lower(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        sums: BufferId,
        columns: BlockedRange,
        note: String,
    ) {
        let transformed = |lowering: &mut Lowering<'_>, name: &str, channels: usize| {
            let elements = self.products() * place_distance(self.count(), channels);
            lowering.temporary(name, lowering.batch().size(elements))
        };
        let inputs = transformed(lowering, "transformed input", self.x.channels());
        let gradients = transformed(lowering, "transformed gradient", self.g.channels());
        let spectra = self.products() * self.x.channels() * self.g.channels();
        let products = lowering.temporary("products", Size::fixed(spectra));
        self.transform_inputs(lowering, node, inputs);
        self.transform_gradients(lowering, node, gradients);
        let draft = lowering.draft(node, note);
        self.multiply(lowering, draft, (inputs, gradients, products), columns);
        self.transform_sums(lowering, node, products, sums, columns);
    }

    fn transform_inputs(&self, lowering: &mut Lowering<'_>, node: &Node, to: BufferId) {
        let [down, across] = self.tiles.counts();
        let (m, channels) = (self.tiles.filtering.results, self.x.channels());
        let mut draft = lowering.draft(node, "Winograd's transform of the input").part("input");
        let (n, row, column) = (draft.var(), draft.var(), draft.var());
        let padded = Padded { grid: self.tiles.reached(), x: self.x.clone(), halo: 0.0 };
        let inputs = padded.inputs(lowering, node, &mut draft, m);
        let first = Affine::default().plus(row, m);
        let outer = padded.grid.outer_units(&mut draft);
        let (mut body, source) = padded.rows(&mut draft, (n, &outer), (&first, m), &inputs);
        let distance = place_distance(self.count(), channels);
        let address = Address::start(to)
            .plus(n, self.products() * distance)
            .plus(row, across * channels)
            .plus(column, channels);
        let source = Source { address: source.address.clone().plus(column, m * source.pixel()), ..source };
        let transform = self.tiles.transform_input(channels, &source, &Transformed { address, distance });
        body.push(Stmt::repeat(column, Extent::Fixed(across), vec![transform]));
        let split = Split::Axes(vec![(n, lowering.batch().extent()), (row, Extent::Fixed(down))]);
        lowering.push(draft.finish(split, body));
    }

    fn transform_gradients(&self, lowering: &mut Lowering<'_>, node: &Node, to: BufferId) {
        let [down, across] = self.tiles.counts();
        let (m, channels) = (self.tiles.filtering.results, self.g.channels());
        let mut draft = lowering.draft(node, "Winograd's transform of the gradient").part("gradient");
        let (n, row, column) = (draft.var(), draft.var(), draft.var());
        let distance = place_distance(self.count(), channels);
        let to = Address::start(to)
            .plus(n, self.products() * distance)
            .plus(row, across * channels)
            .plus(column, channels);
        let line = self.tiles.columns.outputs * self.g.pixel();
        let from = self.g.of_item(n).plus(row, m * line).plus(column, m * self.g.pixel());
        // The last tiles may have fewer results; the missing ones are zero.
        let body = self.tiles.along_row(row.into(), column, |height, width| {
            let mut map = MapBuilder::new(Extent::Fixed(channels));
            let zero = map.expr(Expr::Constant(0.0));
            let elements: Vec<_> = (0..m * m)
                .map(|place| {
                    let (r, c) = (place / m, place % m);
                    if r < height && c < width {
                        map.load(from.clone().offset(r * line + c * self.g.pixel()), 1)
                    } else {
                        zero
                    }
                })
                .collect();
            let transformed = self.tiles.filtering.gradients(&mut map, &elements);
            for (product, value) in transformed.into_iter().enumerate() {
                map.store(to.clone().offset(product * distance), 1, value);
            }
            vec![map.finish()]
        });
        let split = Split::Axes(vec![(n, lowering.batch().extent()), (row, Extent::Fixed(down))]);
        lowering.push(draft.finish(split, body));
    }

    /// One product for each position of a tile. Both operands are first copied to contiguous blocks, since tiles far
    /// apart compete for the same cache sets.
    fn multiply(
        &self,
        lowering: &mut Lowering<'_>,
        mut draft: KernelDraft,
        (inputs, gradients, products): (BufferId, BufferId, BufferId),
        columns: BlockedRange,
    ) {
        let (tiles, x, g) = (self.count(), self.x.channels(), self.g.channels());
        let rows = BlockedRange::exact(x, x.div_ceil(x.div_ceil(self.block.rows)));
        let (product, n, tile) = (draft.var(), draft.var(), draft.var());
        let (row_block, column_block) = (draft.var(), draft.var());
        let left = Address::start(lowering.scratch("inputs", tiles * x));
        let right = Address::start(lowering.scratch("gradients", tiles * columns.size.min(g)));
        let place = |buffer: BufferId, channels: usize| {
            let distance = place_distance(tiles, channels);
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
                        form: Form::OuterProduct,
                        left_rows: Rows::evenly(1),
                        right_column: 1,
                        reduction: vec![Reduction { count: Some(tiles), left: count, right: width }],
                        start: Start::Output,
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
        columns: BlockedRange,
    ) {
        let (x, g) = (self.x.channels(), self.g.channels());
        let positions = self.tiles.filtering.kernel_size * self.tiles.filtering.kernel_size;
        let mut draft = lowering.draft(node, "back to kernel positions").part("kernel");
        let (block, input) = (draft.var(), draft.var());
        let body = columns.branch(block, |first, width| {
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let from = Address::start(products).at(first, x).plus(input, width);
            let elements: Vec<_> = (0..self.products())
                .map(|product| map.load(from.clone().offset(product * x * g), 1))
                .collect();
            let to = Address::start(sums).at(first, x * positions).plus(input, positions * width);
            for (position, value) in
                self.tiles.filtering.weight_gradients(&mut map, &elements).into_iter().enumerate()
            {
                map.store(to.clone().offset(position * width), 1, value);
            }
            vec![map.finish()]
        });
        let axes = vec![(block, Extent::Fixed(columns.blocks())), (input, Extent::Fixed(x))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}
