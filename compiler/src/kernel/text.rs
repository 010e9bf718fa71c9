//! Prints kernels as indented loops.

use std::fmt::{self, Display, Formatter};

use super::{
    Address, Affine, Element, Expr, Extent, Fold, Kernel, Map, Mode, Reducer, Rows, SizeId, Split, Start,
    Stmt, TileCall, Var,
};

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
            Extent::Share => write!(f, "share"),
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
        writeln!(f, "kernel {} {{  ; {}", self.name, self.note)?;
        if !self.setup.is_empty() {
            writeln!(f, "  each thread {{")?;
            write_body(f, &self.setup, 2)?;
            writeln!(f, "  }}")?;
        }
        match &self.split {
            Split::Serial => writeln!(f, "  serial {{")?,
            Split::Axes(axes) => {
                write!(f, "  parallel")?;
                for (var, extent) in axes {
                    write!(f, " {var} in 0..{extent}")?;
                }
                writeln!(f, " {{")?;
            }
            Split::Lanes(var, extent) => writeln!(f, "  parallel elements {var} of {extent} {{")?,
        }
        write_body(f, &self.body, 2)?;
        writeln!(f, "  }}\n}}")
    }
}

fn write_body(f: &mut Formatter<'_>, body: &[Stmt], depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for stmt in body {
        match stmt {
            Stmt::For { var, start, end, step, body } => {
                let by = if *step == 1 { String::new() } else { format!(" by {step}") };
                writeln!(f, "{indent}for {var} in {start}..{end}{by} {{")?;
                write_body(f, body, depth + 1)?;
                writeln!(f, "{indent}}}")?;
            }
            Stmt::Branch { value, bound, below, rest } => {
                writeln!(f, "{indent}if {value} < {bound} {{")?;
                write_body(f, below, depth + 1)?;
                writeln!(f, "{indent}}} else {{")?;
                write_body(f, rest, depth + 1)?;
                writeln!(f, "{indent}}}")?;
            }
            Stmt::Tile(call) => write_tile(f, call, &indent)?,
            Stmt::Map(map) => write_map(f, map, &indent)?,
        }
    }
    Ok(())
}

fn write_tile(f: &mut Formatter<'_>, call: &TileCall, indent: &str) -> fmt::Result {
    let tile = &call.tile;
    let assign = match tile.start {
        Start::Zero => "=",
        Start::Stored => "+=",
    };
    write!(
        f,
        "{indent}tile {}x{} {:?} {} row {} {assign} {} row {} * {} column {}, over",
        tile.rows,
        tile.columns,
        tile.form,
        call.output,
        tile.output_row,
        call.left,
        tile.left_rows,
        call.right,
        tile.right_column
    )?;
    let mut counts = call.counts.iter();
    for reduction in &tile.reduction {
        let count = match reduction.count {
            Some(count) => Extent::Fixed(count),
            None => counts.next().copied().unwrap_or(Extent::Fixed(0)),
        };
        write!(f, " {count} by ({}, {})", reduction.left, reduction.right)?;
    }
    if tile.prefetch > 0 {
        write!(f, ", fetching {} ahead", tile.prefetch)?;
    }
    let mut operands = call.operands.iter();
    for step in &tile.epilogue {
        write!(f, ", {step:?}")?;
        if step.takes_operand()
            && let Some(operand) = operands.next()
        {
            write!(f, " {operand}")?;
        }
    }
    writeln!(f)
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.run {
            usize::MAX => write!(f, "{}", self.near),
            run => write!(f, "{} ({run} times) {}", self.near, self.far),
        }
    }
}

fn write_map(f: &mut Formatter<'_>, map: &Map, indent: &str) -> fmt::Result {
    write!(f, "{indent}map {} lanes", map.lanes)?;
    for extent in &map.window {
        write!(f, " window {extent}")?;
    }
    writeln!(f, " {{")?;
    for (index, expr) in map.exprs.iter().enumerate() {
        if index == map.finish && map.fold != Fold::None {
            write_fold(f, &map.fold, indent)?;
        }
        write!(f, "{indent}  e{index} = ")?;
        write_expr(f, map, expr)?;
        writeln!(f)?;
    }
    for store in &map.stores {
        let assign = match store.mode {
            Mode::Write => "=",
            Mode::Accumulate => "+=",
        };
        write!(f, "{indent}  {} by {} {assign} e{}", store.address, store.lane, store.value.0)?;
        match store.element {
            Element::F32 | Element::I32 => writeln!(f)?,
            Element::U8 => writeln!(f, " as {}", store.element)?,
        }
    }
    writeln!(f, "{indent}}}")
}

fn write_fold(f: &mut Formatter<'_>, fold: &Fold, indent: &str) -> fmt::Result {
    let over = if matches!(fold, Fold::Lanes(_)) { "lanes" } else { "window" };
    for (index, reducer) in fold.reducers().iter().enumerate() {
        let (name, value) = match reducer {
            Reducer::Sum(value) => ("sum", value),
            Reducer::Max(value) => ("max", value),
            Reducer::MaxWithPlace(value) => ("max with place", value),
        };
        writeln!(f, "{indent}  r{index} = {name} of e{} over {over}", value.0)?;
    }
    Ok(())
}

fn write_expr(f: &mut Formatter<'_>, map: &Map, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Load(index) => {
            let load = &map.loads[*index];
            write!(f, "load {} {} by {}", load.element, load.address, load.lane)?;
            if load.repeat != 1 {
                write!(f, " repeated {}", load.repeat)?;
            }
            if load.window.iter().any(|&stride| stride != 0) {
                write!(f, " window {:?}", load.window)?;
            }
            Ok(())
        }
        Expr::Constant(value) => write!(f, "{value:?}"),
        Expr::Integer(value) => write!(f, "{value}"),
        Expr::Index { base, lane: 1 } => write!(f, "index {base}"),
        Expr::Index { base, lane } => write!(f, "index {base} by {lane}"),
        Expr::Position(value) => write!(f, "position {value}"),
        Expr::Phase(period) => write!(f, "lane mod {period}"),
        Expr::WindowIndex => write!(f, "window index"),
        Expr::Size(size, times) => write!(f, "{}", Extent::Open(*size, *times)),
        Expr::Reduced(index) => write!(f, "r{index}"),
        Expr::Place(index) => write!(f, "place of r{index}"),
        Expr::Unary(kind, x) => write!(f, "{kind:?} e{}", x.0),
        Expr::Add(a, b) => write!(f, "e{} + e{}", a.0, b.0),
        Expr::Subtract(a, b) => write!(f, "e{} - e{}", a.0, b.0),
        Expr::Multiply(a, b) => write!(f, "e{} * e{}", a.0, b.0),
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
