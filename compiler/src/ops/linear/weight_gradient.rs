//! The gradient of a dense layer with respect to its weight: outer products, reduced over the batch. If the batch has many
//! rows, they are first copied to panels, so that every tile reads contiguous memory.

use super::LinearGradWeight;
use super::packed::LEAST_ITEMS_OF_ONE;
use crate::entity::ValueId;
use crate::functions::UnaryKind;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep,
};
use crate::ops::optimizer::fused;
use crate::plan::{BlockedRange, Lower, Lowering, MemoryRules, Order, Size};

/// The number of columns that are copied from each row to panels before the next row, if they are so many.
const COLUMNS_READ_AT_ONCE: usize = 64;

impl Lower for LinearGradWeight {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let outputs = lowering.item(node.operands[0])[0];
        let inputs = lowering.item(node.operands[1])[0];
        let sgd = fused::of(lowering, node.results[0]);
        let lanes = lowering.vectors.lanes;
        let are_many = lowering.usual_items(node.operands[0]) >= LEAST_ITEMS_OF_ONE;
        // Few rows and many columns: the result dominates the memory traffic, so it is written along its rows. Panels
        // are read most, so tiles of these are as square as the registers allow.
        let (rows, columns) = match (lowering.vectors.registers > 16, are_many) {
            (true, true) => (8, 3 * lanes),
            (true, false) => (4, 6 * lanes),
            (false, _) => (4, 2 * lanes),
        };
        let row_range = BlockedRange::exact(outputs, rows);
        // Overlapping blocks would apply some updates twice, and panels do not overlap.
        let column_range = match sgd.is_some() || are_many {
            true => BlockedRange::exact(inputs, columns),
            false => BlockedRange::overlapping(inputs, columns, lanes),
        };
        let (g, x) = (node.operands[0], node.operands[1]);
        let [left, right] = match are_many {
            true => [
                Source::panels(lowering, node, ("gradient", g), &row_range),
                Source::panels(lowering, node, ("input", x), &column_range),
            ],
            false => {
                [Source::InPlace(lowering.address(g), outputs), Source::InPlace(lowering.address(x), inputs)]
            }
        };
        let mut note = "outer products, reduced over the batch".to_owned();
        if are_many {
            note += &format!(", of panels of {rows} and {columns}");
        }
        if sgd.is_some() {
            note += "; SGD update fused";
        }
        let mut draft = lowering.draft(node, note);
        let (to, epilogue, operands) = match sgd {
            Some(sgd) => {
                lowering.fuse(sgd.node, &mut draft);
                let epilogue = vec![TileStep::MultiplyScalar, TileStep::Apply(UnaryKind::Negate)];
                (sgd.weight, epilogue, vec![sgd.rate])
            }
            None => (lowering.address(node.results[0]), Vec::new(), Vec::new()),
        };
        let start = if operands.is_empty() { Start::Zero } else { Start::Output };
        let (row_block, column_block) = (draft.var(), draft.var());
        let tile = |(row, rows): (&Affine, usize), (column, columns): (&Affine, usize)| {
            let (left, left_step) = left.block(row, rows);
            let (right, right_step) = right.block(column, columns);
            vec![Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows,
                    columns,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(1),
                    right_column: 1,
                    reduction: vec![Reduction { count: None, left: left_step, right: right_step }],
                    start,
                    prefetch: 0,
                    epilogue: epilogue.clone(),
                    output_row: inputs,
                },
                left,
                right,
                output: to.clone().at(row, inputs).at(column, 1),
                operands: operands.clone(),
                counts: vec![lowering.batch().extent()],
            }))]
        };
        let of_rows = (row_block, Extent::Fixed(row_range.blocks()));
        if are_many {
            // A panel of inputs stays in the L2 cache while all gradients are multiplied by it.
            let body = column_range.branch(column_block, |column, columns| {
                row_range.branch(row_block, |row, rows| tile((row, rows), (column, columns)))
            });
            let of_columns = (column_block, Extent::Fixed(column_range.blocks()));
            lowering.push(draft.finish(Split::Axes(vec![of_columns, of_rows]), body));
        } else {
            let body = row_range.branch(row_block, |row, rows| {
                column_range.sequence(column_block, |column, columns| tile((row, rows), (column, columns)))
            });
            lowering.push(draft.finish(Split::Axes(vec![of_rows]), body));
        }
    }
}

/// Where tiles find an operand `[N, width]`, of which they read a block of columns.
enum Source {
    /// In place, with the stride of rows.
    InPlace(Address, usize),
    /// In panels: for each block of columns all rows, whose number is `rows`.
    Panels { first: Address, rows: Size },
}

impl Source {
    /// Adds the kernel that copies an operand to panels.
    fn panels(
        lowering: &mut Lowering<'_>,
        node: &Node,
        (name, value): (&str, ValueId),
        range: &BlockedRange,
    ) -> Self {
        let width = lowering.item(value)[0];
        let (from, rows) = (lowering.address(value), lowering.batch().size(1));
        let size = lowering.batch().size(width);
        let first = Address::start(lowering.temporary(&format!("panels of the {name}"), size));
        let note = format!("the {name} in panels of {}", range.size);
        let mut draft = lowering.draft(node, note).part("panels");
        // Rows are often a multiple of a page apart. Whole cache lines, several in a row, make up for that.
        let group = range.size * (COLUMNS_READ_AT_ONCE / range.size).max(1);
        let (index, row, block) = (draft.var(), draft.var(), draft.var());
        let copy = |start: &Affine, columns: usize| {
            let mut map = MapBuilder::new(Extent::Fixed(columns));
            let element = map.load(from.clone().at(start, 1).plus(row, width), 1);
            map.store(first.clone().at_size(start, rows).plus(row, columns), 1, element);
            vec![map.finish()]
        };
        let groups = BlockedRange::exact(width, group);
        let body = groups.branch(index, |group, columns| {
            let blocks = BlockedRange::exact(columns, range.size);
            let copies =
                blocks.sequence(block, |start, columns| copy(&group.clone().plus_scaled(start, 1), columns));
            vec![Stmt::repeat(row, lowering.batch().extent(), copies)]
        });
        lowering.push(draft.finish(Split::Axes(vec![(index, Extent::Fixed(groups.blocks()))]), body));
        Source::Panels { first, rows }
    }

    /// The first element of a block of columns, and the stride of rows.
    fn block(&self, start: &Affine, columns: usize) -> (Address, usize) {
        match self {
            Source::InPlace(address, row) => (address.clone().at(start, 1), *row),
            Source::Panels { first, rows } => (first.clone().at_size(start, *rows), columns),
        }
    }
}
