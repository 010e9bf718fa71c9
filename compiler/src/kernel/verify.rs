//! Checks a kernel before code is generated for it. A failure is a bug in the planner, never a user error.
//!
//! 1. Every variable is bound where it is used, and bound only once on each path.
//! 2. Every expression uses only earlier ones of the right kind (float, integer, mask); stores get a value of their
//!    element type.
//! 3. Reducers read expressions before `finish`; argmax indices exist only for window reductions.
//! 4. Tiles have rows, columns and a reduction; calls give every operand and count.
//! 5. `Chunk` appears only in a split over lanes.
//! 6. Lookups have at least one index, and all their indices are 32-bit integers.
//! 7. A map's loads are those of its expressions, each once and in order, so that the text describes all of them.

use super::{
    Affine, Element, Expr, Extent, Fold, Form, Kernel, Map, Mode, Pool, Reducer, Split, Start, Stmt, Tile,
    TileCall, TileStep, Var,
};

/// Checks every invariant; the error names the broken one.
///
/// # Errors
/// A sentence naming the kernel and the broken invariant.
pub fn verify(kernel: &Kernel) -> Result<(), String> {
    let mut checker = Checker { bound: vec![false; kernel.variables], chunk: false };
    let result = kernel.thread.map_or(Ok(()), |var| checker.bind(var)).and_then(|()| {
        checker.body(&kernel.setup)?;
        match &kernel.split {
            Split::Serial => {}
            Split::Axes(axes) => {
                for (var, _) in axes {
                    checker.bind(*var)?;
                }
            }
            Split::Lanes(var, _) => {
                checker.bind(*var)?;
                checker.chunk = true;
            }
        }
        checker.body(&kernel.body)
    });
    result.map_err(|reason| format!("kernel {}: {reason}", kernel.name))
}

struct Checker {
    bound: Vec<bool>,
    chunk: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Float,
    Integer,
    Mask,
}

impl Kind {
    fn of(element: Element) -> Self {
        match element {
            Element::F32 => Kind::Float,
            Element::I32 | Element::U8 => Kind::Integer,
        }
    }
}

impl Checker {
    fn bind(&mut self, var: Var) -> Result<(), String> {
        match self.bound.get_mut(var.0) {
            Some(bound) if !*bound => {
                *bound = true;
                Ok(())
            }
            Some(_) => Err(format!("{var} is bound twice")),
            None => Err(format!("{var} does not exist")),
        }
    }

    fn affine(&self, affine: &Affine) -> Result<(), String> {
        match affine.vars().find(|var| self.bound.get(var.0) != Some(&true)) {
            Some(var) => Err(format!("{var} is used where it is not bound")),
            None => Ok(()),
        }
    }

    fn extent(&self, extent: Extent) -> Result<(), String> {
        match extent {
            Extent::Chunk | Extent::ChunkFloor(_) if !self.chunk => {
                Err("a chunk outside a split over lanes".to_owned())
            }
            Extent::Floor { multiple: 0, .. } | Extent::ChunkFloor(0) => Err("a multiple of 0".to_owned()),
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), String> {
        for stmt in body {
            match stmt {
                Stmt::For { var, start, end, step, body } => {
                    self.extent(*start)?;
                    self.extent(*end)?;
                    if *step == 0 {
                        return Err(format!("the loop over {var} has step 0"));
                    }
                    self.bind(*var)?;
                    self.body(body)?;
                    self.bound[var.0] = false;
                }
                Stmt::Branch { value, below, rest, .. } => {
                    self.affine(value)?;
                    self.body(below)?;
                    self.body(rest)?;
                }
                Stmt::Lookup { var, from, bound, found, rest } => {
                    self.affine(&from.offset)?;
                    if *bound == 0 || i32::try_from(bound - 1).is_err() {
                        return Err(format!("a lookup of {var} below {bound}"));
                    }
                    self.body(rest)?;
                    self.bind(*var)?;
                    self.body(found)?;
                    self.bound[var.0] = false;
                }
                Stmt::Tile(call) => self.tile(call)?,
                Stmt::Map(map) => self.map(map)?,
            }
        }
        Ok(())
    }

    fn tile(&self, call: &TileCall) -> Result<(), String> {
        let tile = &call.tile;
        call.addresses().try_for_each(|address| self.affine(&address.offset))?;
        call.counts.iter().try_for_each(|&count| self.extent(count))?;
        let open = tile.reduction.iter().filter(|reduction| reduction.count.is_none()).count();
        let taken = tile.epilogue.iter().filter(|step| step.takes_operand()).count();
        let innermost_contiguous =
            tile.reduction.last().is_some_and(|last| last.left == 1 && last.right == 1);
        match tile.form {
            _ if tile.rows == 0 || tile.columns == 0 => Err("a tile without rows or columns".to_owned()),
            _ if tile.reduction.is_empty() => Err("a tile without a reduction".to_owned()),
            _ if open != call.counts.len() => Err("a tile call with the wrong number of counts".to_owned()),
            _ if taken != call.operands.len() => {
                Err("a tile call with the wrong number of operands".to_owned())
            }
            _ if tile.left_rows.run == 0 => Err("runs of 0 rows".to_owned()),
            _ if !pools_whole_windows(tile) => Err("a tile that does not end with whole windows".to_owned()),
            Form::OuterProduct if tile.right_column != 1 => Err("columns that are not contiguous".to_owned()),
            Form::InnerProduct if !innermost_contiguous => {
                Err("an inner product that is not contiguous".to_owned())
            }
            Form::OuterProduct | Form::InnerProduct => Ok(()),
        }
    }

    fn map(&self, map: &Map) -> Result<(), String> {
        self.extent(map.lanes)?;
        map.window.iter().try_for_each(|&extent| self.extent(extent))?;
        if map.fold == Fold::None && !map.window.is_empty() {
            return Err("a window without a reduction".to_owned());
        }
        let known = matches!(map.lanes, Extent::Fixed(lanes) if super::may_group(lanes, usize::MAX));
        if map.needs_known_lanes() && !known {
            return Err("groups of lanes that do not start at vector boundaries".to_owned());
        }
        for load in &map.loads {
            self.affine(&load.address.offset)?;
            if load.repeat == 0 || load.repeat > 1 && load.lane != 1 {
                return Err("a repeated load that is not contiguous".to_owned());
            }
            if load.window.len() != map.window.len() {
                return Err("a load with the wrong number of window strides".to_owned());
            }
        }
        let is_reduced = map.fold != Fold::None;
        if is_reduced == map.fold.reducers().is_empty() || map.finish > map.exprs.len() {
            return Err("a reduction of nothing".to_owned());
        }
        if !is_reduced && map.finish != map.exprs.len() {
            return Err("the end of a reduction that does not exist".to_owned());
        }
        let mut kinds = Vec::new();
        for (index, expr) in map.exprs.iter().enumerate() {
            let finished = index >= map.finish;
            // Expressions after a reduction can only use its results.
            let first = if finished { map.finish } else { 0 };
            let kind = self.expr(map, expr, (&kinds, first), finished)?;
            kinds.push(kind);
        }
        let loaded = map.exprs.iter().filter_map(|expr| match expr {
            Expr::Load(index) => Some(*index),
            _ => None,
        });
        if !loaded.eq(0..map.loads.len()) {
            return Err("loads that are not the expressions' own, in order".to_owned());
        }
        for reducer in map.fold.reducers() {
            if reducer.value().0 >= map.finish || kinds[reducer.value().0] != Kind::Float {
                return Err("a reducer of something other than a float before the reduction".to_owned());
            }
            if matches!((reducer, &map.fold), (Reducer::MaxWithArgmax(_), Fold::Lanes(_))) {
                return Err("an argmax across lanes".to_owned());
            }
        }
        for store in &map.stores {
            self.affine(&store.address.offset)?;
            if is_reduced && store.value.0 < map.finish {
                return Err("a store of a value before its reduction".to_owned());
            }
            let kind = kinds.get(store.value.0).filter(|&&kind| kind != Kind::Mask);
            let Some(&kind) = kind else { return Err("a store of no number".to_owned()) };
            if store.mode == Mode::Accumulate && kind != Kind::Float {
                return Err("a sum of integers in memory".to_owned());
            }
            if kind != Kind::of(store.element) {
                return Err(format!("a store of {kind:?} as {}", store.element));
            }
            if store.lane == 0 && !matches!(map.fold, Fold::Lanes(_)) {
                return Err("a store of all lanes to one element".to_owned());
            }
        }
        Ok(())
    }

    /// The kind of an expression, given the kinds of the expressions before it; it may use those from `first` on.
    fn expr(
        &self,
        map: &Map,
        expr: &Expr,
        (kinds, first): (&[Kind], usize),
        finished: bool,
    ) -> Result<Kind, String> {
        let need = |id: super::ExprId, kind: Kind| match kinds.get(id.0) {
            Some(_) if id.0 < first => Err(format!("e{} is used after the reduction", id.0)),
            Some(&found) if found == kind => Ok(()),
            Some(found) => Err(format!("e{} is {found:?} where {kind:?} is needed", id.0)),
            None => Err(format!("e{} is used before it is computed", id.0)),
        };
        let both = |a, b, kind: Kind, gives: Kind| need(a, kind).and_then(|()| need(b, kind)).map(|()| gives);
        match expr {
            Expr::Load(index) => match map.loads.get(*index) {
                Some(load) => Ok(Kind::of(load.element)),
                None => Err(format!("load {index} does not exist")),
            },
            Expr::Constant(_) | Expr::Size(..) => Ok(Kind::Float),
            Expr::WindowIndex if finished || !counts_window(map) => {
                Err("an index of a window that is not known".to_owned())
            }
            Expr::Integer(_) | Expr::WindowIndex | Expr::Phase(1..) => Ok(Kind::Integer),
            Expr::Phase(0) => Err("a remainder of a division by 0".to_owned()),
            Expr::Index { base, .. } | Expr::Position(base) => self.affine(base).map(|()| Kind::Integer),
            Expr::Reduced(index) if finished && *index < map.fold.reducers().len() => Ok(Kind::Float),
            Expr::Argmax(index)
                if finished && matches!(map.fold.reducers().get(*index), Some(Reducer::MaxWithArgmax(_))) =>
            {
                Ok(Kind::Integer)
            }
            Expr::Reduced(_) | Expr::Argmax(_) => Err("a reduced value that does not exist".to_owned()),
            Expr::Unary(_, x) | Expr::Slope(_, x) => need(*x, Kind::Float).map(|()| Kind::Float),
            Expr::Add(a, b)
            | Expr::Subtract(a, b)
            | Expr::Multiply(a, b)
            | Expr::Divide(a, b)
            | Expr::Largest(a, b) => both(*a, *b, Kind::Float, Kind::Float),
            Expr::MultiplyAdd(a, b, c) => {
                need(*c, Kind::Float)?;
                both(*a, *b, Kind::Float, Kind::Float)
            }
            Expr::Less(a, b) | Expr::AtMost(a, b) => both(*a, *b, Kind::Float, Kind::Mask),
            Expr::SameInteger(a, b) | Expr::BelowUnsigned(a, b) => both(*a, *b, Kind::Integer, Kind::Mask),
            Expr::Select(mask, a, b) => {
                need(*mask, Kind::Mask)?;
                let kind = match kinds.get(a.0) {
                    Some(Kind::Integer) => Kind::Integer,
                    _ => Kind::Float,
                };
                both(*a, *b, kind, kind)
            }
            Expr::AddInteger(a, b) | Expr::And(a, b) | Expr::Xor(a, b) => {
                both(*a, *b, Kind::Integer, Kind::Integer)
            }
            Expr::RotateLeft(_, 32..) => Err("a rotation by more bits than there are".to_owned()),
            Expr::RotateLeft(a, _) => need(*a, Kind::Integer).map(|()| Kind::Integer),
        }
    }
}

/// Whether window steps can be numbered: the sizes of all loops except the outermost are known.
fn counts_window(map: &Map) -> bool {
    map.window.iter().skip(1).all(|extent| matches!(extent, Extent::Fixed(_)))
}

/// Whether a tile pools only as its last step, with windows that divide its rows into whole lines, and overwrites its
/// output.
fn pools_whole_windows(tile: &Tile) -> bool {
    let pools = tile.epilogue.iter().filter(|step| matches!(step, TileStep::Pool(_))).count();
    match tile.pool() {
        None => pools == 0,
        Some(Pool { height, width, .. }) => {
            let window = height.checked_mul(width).filter(|&window| window > 0);
            pools == 1
                && tile.start == Start::Zero
                && window.is_some_and(|window| tile.rows.is_multiple_of(window))
        }
    }
}

#[cfg(test)]
mod tests;
