//! Kernels of the encoding of positions: a table of all steps, once for the whole batch, and its sum with every item.
//!
//! Kernels have no sines. The sine and cosine of `t·w` are those of 0, rotated by the angle `2ᵏ·w` for each bit `k` of
//! `t` that is set, so each is computed in at most as many rotations as `t` has bits, and rounding errors do not grow with
//! the number of steps.

use super::{AddPositions, angle};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Expr, Extent, MapBuilder, Split};
use crate::plan::{Lower, Lowering, MemoryRules, Order};

/// The bits of positions, if the number of steps is open.
const BITS: u32 = 24;

impl Lower for AddPositions {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (x, y) = (node.operands[0], node.results[0]);
        let dims = lowering.ty(x).shape.dims().to_vec();
        let rank = dims.len();
        let steps = lowering.product(&dims[rank - 2..rank - 1]);
        let features = lowering.product(&dims[rank - 1..]).known();
        let (items, item) = (lowering.product(&dims[..rank - 2]), lowering.product(&dims[rank - 2..]));
        let bits = steps
            .as_number()
            .map_or(BITS, |steps| (steps.max(1) - 1).checked_ilog2().map_or(0, |bit| bit + 1));
        // Rows of the sines and of the cosines: of the angle at step 0, a quarter turn for cosines, then of each bit.
        let turn = |row: u32, feature: usize| match row {
            0 if feature.is_multiple_of(2) => 0.0,
            0 => std::f64::consts::FRAC_PI_2,
            bit => f64::from(1u32 << (bit - 1)) * angle(feature, features),
        };
        let rows = |of: fn(f64) -> f64| {
            let turns = (0..=bits).flat_map(|row| (0..features).map(move |feature| turn(row, feature)));
            turns.map(|turn| of(turn) as f32).collect::<Vec<f32>>()
        };
        let mut cosines = rows(f64::cos);
        // The cosine of a quarter turn.
        cosines.iter_mut().take(features).skip(1).step_by(2).for_each(|cosine| *cosine = 0.0);
        let sines = Address::start(lowering.constant("sines", rows(f64::sin)));
        let cosines = Address::start(lowering.constant("cosines", cosines));
        let table = Address::start(lowering.temporary("positions", item));
        let mut draft = lowering.draft(node, "a table of all steps, by rotations for each bit").part("table");
        let t = draft.var();
        let mut map = MapBuilder::new(Extent::Fixed(features));
        let row = |map: &mut MapBuilder, bit: u32| {
            let first = bit as usize * features;
            [&sines, &cosines].map(|rows| map.load(rows.clone().offset(first), 1))
        };
        let position = map.expr(Expr::Position(Affine::from(t)));
        let none = map.expr(Expr::Integer(0));
        let [mut sine, mut cosine] = row(&mut map, 0);
        for bit in 0..bits {
            let number = map.expr(Expr::Integer(1 << bit));
            let own = map.expr(Expr::And(position, number));
            let is_unset = map.expr(Expr::SameInteger(own, none));
            let [by_sine, by_cosine] = row(&mut map, bit + 1);
            let [kept, moved] = [map.multiply(sine, by_cosine), map.multiply(cosine, by_sine)];
            let next_sine = map.add(kept, moved);
            let [kept, moved] = [map.multiply(cosine, by_cosine), map.multiply(sine, by_sine)];
            let next_cosine = map.subtract(kept, moved);
            sine = map.expr(Expr::Select(is_unset, sine, next_sine));
            cosine = map.expr(Expr::Select(is_unset, cosine, next_cosine));
        }
        map.store(table.clone().plus(t, features), 1, sine);
        lowering.push(draft.finish(Split::Axes(vec![(t, steps.extent())]), vec![map.finish()]));
        let mut draft = lowering.draft(node, "item by item");
        let n = draft.var();
        let mut map = MapBuilder::new(item.extent());
        let value = map.load(lowering.address(x).plus_size(n, item), 1);
        let encoding = map.load(table, 1);
        let sum = map.add(value, encoding);
        map.store(lowering.address(y).plus_size(n, item), 1, sum);
        lowering.push(draft.finish(Split::Axes(vec![(n, items.extent())]), vec![map.finish()]));
    }
}
