//! Prints kernels as indented loops. The text is lossless: [`parse`](super::parse) reads the same kernel back.

use std::fmt::{self, Display, Formatter};

use super::{
    Address, Affine, Element, Expr, Extent, Fold, Form, Kernel, Map, Mode, Pool, PoolKind, Reducer, Rows,
    SizeId, Split, Start, Stmt, TileCall, TileStep, Var,
};
use crate::cost::Cost;

impl Display for Var {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "f32",
            Element::I32 => "i32",
            Element::U8 => "u8",
        })
    }
}

impl Display for Extent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Fixed(count) => write!(f, "{count}"),
            Extent::Open(size, 1) => write!(f, "{size}"),
            Extent::Open(size, times) => write!(f, "{size}*{times}"),
            Extent::Floor { size, times: 1, multiple } => write!(f, "floor({size}, {multiple})"),
            Extent::Floor { size, times, multiple } => write!(f, "floor({size}*{times}, {multiple})"),
            Extent::Chunk => write!(f, "chunk"),
            Extent::ChunkFloor(multiple) => write!(f, "floor(chunk, {multiple})"),
        }
    }
}

impl Display for SizeId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            SizeId::BATCH => f.write_str("N"),
            SizeId(index) => write!(f, "s{index}"),
        }
    }
}

impl Display for Affine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (var, factor) in &self.terms {
            match factor {
                1 => write!(f, "{separator}{var}")?,
                _ => write!(f, "{separator}{var}*{factor}")?,
            }
            separator = " + ";
        }
        for term in &self.open {
            f.write_str(separator)?;
            term.var.map_or(Ok(()), |var| write!(f, "{var}*"))?;
            write!(f, "{}", term.size)?;
            if term.factor != 1 {
                write!(f, "*{}", term.factor)?;
            }
            separator = " + ";
        }
        if self.constant != 0 || self.terms.is_empty() && self.open.is_empty() {
            write!(f, "{separator}{}", self.constant)?;
        }
        Ok(())
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "b{}[{}]", self.buffer.0, self.offset)
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {} {{", Name(&self.name))?;
        if !self.note.is_empty() {
            writeln!(f, "  note {}", Quoted(&self.note))?;
        }
        if self.cost != Cost::default() {
            writeln!(f, "  flops {}", Quoted(&self.cost.flops.to_string()))?;
        }
        write!(f, "  variables {}", self.variables)?;
        if let Some(thread) = self.thread {
            write!(f, ", thread {thread}")?;
        }
        writeln!(f)?;
        if !self.setup.is_empty() {
            writeln!(f, "  each thread {{")?;
            write_body(f, &self.setup, 2)?;
            writeln!(f, "  }}")?;
        }
        match &self.split {
            Split::Serial => write!(f, "  serial")?,
            Split::Axes(axes) => {
                write!(f, "  parallel")?;
                for (index, (var, extent)) in axes.iter().enumerate() {
                    write!(f, "{} {var} in 0..{extent}", separator(index))?;
                }
            }
            Split::Lanes(var, extent) => write!(f, "  parallel elements {var} of {extent}")?,
        }
        writeln!(f, " {{")?;
        write_body(f, &self.body, 2)?;
        writeln!(f, "  }}\n}}")
    }
}

/// The separator before an element of a list.
fn separator(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

/// A string in quotes, with escapes.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::Value::from(self.0).to_string())
    }
}

/// A kernel's name, quoted if it contains unusual characters.
struct Name<'t>(&'t str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_plain = !self.0.is_empty() && self.0.chars().all(is_name_character);
        if is_plain { f.write_str(self.0) } else { write!(f, "{}", Quoted(self.0)) }
    }
}

/// Whether a name with this character needs no quotes.
pub(super) fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-/".contains(character)
}

fn write_body(f: &mut Formatter<'_>, body: &[Stmt], depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for stmt in body {
        match stmt {
            Stmt::For { var, start, end, step, body } => {
                let by = if *step == 1 { String::new() } else { format!(" by {step}") };
                writeln!(f, "{indent}for {var} in {start}..{end}{by} {{")?;
                write_body(f, body, depth + 1)?;
            }
            Stmt::Branch { value, bound, below, rest } => {
                writeln!(f, "{indent}if {value} < {bound} {{")?;
                write_body(f, below, depth + 1)?;
                if !rest.is_empty() {
                    writeln!(f, "{indent}}} else {{")?;
                    write_body(f, rest, depth + 1)?;
                }
            }
            Stmt::Lookup { var, from, bound, found, rest } => {
                writeln!(f, "{indent}let {var} = {from} below {bound} {{")?;
                write_body(f, found, depth + 1)?;
                if !rest.is_empty() {
                    writeln!(f, "{indent}}} else {{")?;
                    write_body(f, rest, depth + 1)?;
                }
            }
            Stmt::Tile(call) => write_tile(f, call, &indent)?,
            Stmt::Map(map) => write_map(f, map, &indent)?,
        }
        writeln!(f, "{indent}}}")?;
    }
    Ok(())
}

fn write_tile(f: &mut Formatter<'_>, call: &TileCall, indent: &str) -> fmt::Result {
    let tile = &call.tile;
    let form = match tile.form {
        Form::OuterProduct => "outer_product",
        Form::InnerProduct => "inner_product",
    };
    let assign = match tile.start {
        Start::Zero => "=",
        Start::Output => "+=",
    };
    writeln!(f, "{indent}tile {}x{} {form} {{", tile.rows, tile.columns)?;
    writeln!(
        f,
        "{indent}  {} row {} {assign} {} row {} * {} column {}",
        call.output, tile.output_row, call.left, tile.left_rows, call.right, tile.right_column
    )?;
    write!(f, "{indent}  over")?;
    let mut counts = call.counts.iter();
    for (index, reduction) in tile.reduction.iter().enumerate() {
        write!(f, "{} ", separator(index))?;
        match (reduction.count, counts.as_slice().first()) {
            (Some(count), _) => write!(f, "{count}")?,
            (None, Some(count)) => write!(f, "given {count}")?,
            (None, None) => write!(f, "given nothing")?,
        }
        if reduction.count.is_none() {
            counts.next();
        }
        write!(f, " by ({}, {})", reduction.left, reduction.right)?;
    }
    writeln!(f)?;
    if tile.prefetch > 0 {
        writeln!(f, "{indent}  fetch {} ahead", tile.prefetch)?;
    }
    let mut operands = call.operands.iter();
    for step in &tile.epilogue {
        let operand = if step.takes_operand() { operands.next() } else { None };
        let operand = operand.map_or_else(|| "nothing".to_owned(), Address::to_string);
        write!(f, "{indent}  ")?;
        match step {
            TileStep::AddPerRow => writeln!(f, "add {operand} per row")?,
            TileStep::AddPerColumn => writeln!(f, "add {operand} per column")?,
            TileStep::AddElement { row } => writeln!(f, "add {operand} row {row}")?,
            TileStep::MultiplyScalar => writeln!(f, "multiply by {operand}")?,
            TileStep::Apply(kind) => writeln!(f, "{kind}")?,
            TileStep::Pool(Pool { kind, height, width }) => {
                let kind = match kind {
                    PoolKind::Max => "max",
                    PoolKind::Mean => "mean",
                };
                writeln!(f, "{kind} pool {height}x{width}")?;
            }
        }
    }
    Ok(())
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            rows if *rows == Rows::evenly(rows.stride) => write!(f, "{}", rows.stride),
            Rows { run, stride, run_stride } => write!(f, "{stride} in runs of {run} by {run_stride}"),
        }
    }
}

fn write_map(f: &mut Formatter<'_>, map: &Map, indent: &str) -> fmt::Result {
    write!(f, "{indent}map {} lanes", map.lanes)?;
    for (index, extent) in map.window.iter().enumerate() {
        write!(f, "{} {extent}", if index == 0 { " window" } else { "," })?;
    }
    writeln!(f, " {{")?;
    for (index, expr) in map.exprs.iter().enumerate() {
        if index == map.finish {
            write_fold(f, &map.fold, indent)?;
        }
        write!(f, "{indent}  e{index} = ")?;
        write_expr(f, map, expr)?;
        writeln!(f)?;
    }
    if map.finish >= map.exprs.len() {
        write_fold(f, &map.fold, indent)?;
    }
    for store in &map.stores {
        let assign = match store.mode {
            Mode::Write => "=",
            Mode::Accumulate => "+=",
        };
        let (element, address, value) = (store.element, &store.address, store.value.0);
        writeln!(f, "{indent}  store {element} {address} by {} {assign} e{value}", store.lane)?;
    }
    Ok(())
}

fn write_fold(f: &mut Formatter<'_>, fold: &Fold, indent: &str) -> fmt::Result {
    let over = if matches!(fold, Fold::Lanes(_)) { "lanes" } else { "window" };
    for (index, reducer) in fold.reducers().iter().enumerate() {
        let (name, value) = match reducer {
            Reducer::Sum(value) => ("sum", value),
            Reducer::Max(value) => ("max", value),
            Reducer::MaxWithArgmax(value) => ("max with argmax", value),
        };
        writeln!(f, "{indent}  r{index} = {name} of e{} over {over}", value.0)?;
    }
    Ok(())
}

fn write_expr(f: &mut Formatter<'_>, map: &Map, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Load(index) => {
            let Some(load) = map.loads.get(*index) else { return f.write_str("load nothing") };
            write!(f, "load {} {} by {}", load.element, load.address, load.lane)?;
            if load.repeat != 1 {
                write!(f, " repeated {}", load.repeat)?;
            }
            if load.window.iter().any(|&stride| stride != 0) {
                write!(f, " window {:?}", load.window)?;
            }
            Ok(())
        }
        Expr::Constant(value) => write_float(f, *value),
        Expr::Integer(value) => write!(f, "{value}"),
        Expr::Index { base, lane: 1 } => write!(f, "index {base}"),
        Expr::Index { base, lane } => write!(f, "index {base} by {lane}"),
        Expr::Position(value) => write!(f, "position {value}"),
        Expr::Phase(period) => write!(f, "lane mod {period}"),
        Expr::WindowIndex => write!(f, "window index"),
        Expr::Size(size, times) => write!(f, "{}", Extent::Open(*size, *times)),
        Expr::Reduced(index) => write!(f, "r{index}"),
        Expr::Argmax(index) => write!(f, "argmax of r{index}"),
        Expr::Unary(kind, x) => write!(f, "{kind} e{}", x.0),
        Expr::Slope(activation, x) => write!(f, "slope of {activation} e{}", x.0),
        Expr::Add(a, b) => write!(f, "e{} + e{}", a.0, b.0),
        Expr::Subtract(a, b) => write!(f, "e{} - e{}", a.0, b.0),
        Expr::Multiply(a, b) => write!(f, "e{} * e{}", a.0, b.0),
        Expr::MultiplyAdd(a, b, c) => write!(f, "e{} * e{} + e{}", a.0, b.0, c.0),
        Expr::Largest(a, b) => write!(f, "larger of e{} and e{}", a.0, b.0),
        Expr::Divide(a, b) => write!(f, "e{} / e{}", a.0, b.0),
        Expr::Less(a, b) => write!(f, "e{} < e{}", a.0, b.0),
        Expr::AtMost(a, b) => write!(f, "e{} <= e{}", a.0, b.0),
        Expr::SameInteger(a, b) => write!(f, "e{} == e{}", a.0, b.0),
        Expr::BelowUnsigned(a, b) => write!(f, "e{} below e{}", a.0, b.0),
        Expr::Select(mask, a, b) => write!(f, "e{} ? e{} : e{}", mask.0, a.0, b.0),
        Expr::AddInteger(a, b) => write!(f, "e{} + e{} (integers)", a.0, b.0),
        Expr::And(a, b) => write!(f, "e{} & e{}", a.0, b.0),
        Expr::Xor(a, b) => write!(f, "e{} ^ e{}", a.0, b.0),
        Expr::RotateLeft(a, bits) => write!(f, "e{} rotated left {bits}", a.0),
    }
}

/// A float, exact to the last bit. It has a point or an exponent, unlike integers.
fn write_float(f: &mut Formatter<'_>, value: f32) -> fmt::Result {
    match value.to_bits() {
        bits if value.is_nan() && bits != f32::NAN.to_bits() => write!(f, "nan {bits:#010x}"),
        _ if value.is_nan() => f.write_str("nan"),
        _ => write!(f, "{value:?}"),
    }
}
