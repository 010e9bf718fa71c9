//! Parses tiles and maps.

use super::cursor::Constant;
use super::{ParseKernelError, Parser};
use crate::functions::UnaryKind;
use crate::kernel::{
    Expr, ExprId, Extent, Fold, Form, Load, Map, Mode, Pool, PoolKind, Reducer, Reduction, Rows, Start, Stmt,
    Store, Tile, TileCall, TileStep,
};

/// The operator of a binary operation.
type Operation = (&'static str, fn(ExprId, ExprId) -> Expr);

/// The maximum number of window loops. Plans use three.
const MAX_WINDOW: usize = 8;

impl Parser<'_> {
    /// Parses a tile after the word `tile`.
    pub(super) fn tile(&mut self) -> Result<Stmt, ParseKernelError> {
        let (rows, columns) = self.sides()?;
        let form = match self.cursor.peek_word() {
            "outer_product" => Form::OuterProduct,
            "inner_product" => Form::InnerProduct,
            _ => return Err(self.cursor.expected("`outer_product` or `inner_product`")),
        };
        self.cursor.expect_word(if form == Form::InnerProduct {
            "inner_product"
        } else {
            "outer_product"
        })?;
        self.cursor.expect("{")?;
        let output = self.cursor.address()?;
        self.cursor.expect_word("row")?;
        let output_row = self.cursor.count()?;
        let start = if self.cursor.eat("+=") { Start::Output } else { Start::Zero };
        if start == Start::Zero {
            self.cursor.expect("=")?;
        }
        let left = self.cursor.address()?;
        self.cursor.expect_word("row")?;
        let left_rows = self.rows()?;
        self.cursor.expect("*")?;
        let right = self.cursor.address()?;
        self.cursor.expect_word("column")?;
        let right_column = self.cursor.count()?;
        let (reduction, counts) = self.reduction()?;
        let mut prefetch = 0;
        if self.cursor.eat_word("fetch") {
            prefetch = self.cursor.count()?;
            self.cursor.expect_word("ahead")?;
        }
        let (mut epilogue, mut operands) = (Vec::new(), Vec::new());
        while !self.cursor.eat("}") {
            epilogue.push(self.tile_step(&mut operands)?);
        }
        let tile = Tile {
            rows,
            columns,
            form,
            left_rows,
            right_column,
            reduction,
            start,
            prefetch,
            epilogue,
            output_row,
        };
        Ok(Stmt::Tile(Box::new(TileCall { tile, left, right, output, operands, counts })))
    }

    /// `2x4`.
    fn sides(&mut self) -> Result<(usize, usize), ParseKernelError> {
        let height = self.cursor.count()?;
        self.cursor.expect("x")?;
        Ok((height, self.cursor.count()?))
    }

    /// `9`, or `9 in runs of 4 by 72`.
    fn rows(&mut self) -> Result<Rows, ParseKernelError> {
        let stride = self.cursor.count()?;
        if !self.cursor.eat_word("in") {
            return Ok(Rows::evenly(stride));
        }
        self.cursor.expect_word("runs")?;
        self.cursor.expect_word("of")?;
        let run = self.cursor.count()?;
        self.cursor.expect_word("by")?;
        Ok(Rows { run, stride, run_stride: self.cursor.count()? })
    }

    /// `over 3 by (9, 1), given N by (1, 4)`; `given` marks counts that the call gives.
    fn reduction(&mut self) -> Result<(Vec<Reduction>, Vec<Extent>), ParseKernelError> {
        let (mut reduction, mut counts) = (Vec::new(), Vec::new());
        self.cursor.expect_word("over")?;
        loop {
            let count = match self.cursor.eat_word("given") {
                true => {
                    counts.push(self.cursor.extent()?);
                    None
                }
                false => Some(self.cursor.count()?),
            };
            self.cursor.expect_word("by")?;
            self.cursor.expect("(")?;
            let left = self.cursor.count()?;
            self.cursor.expect(",")?;
            let right = self.cursor.count()?;
            self.cursor.expect(")")?;
            reduction.push(Reduction { count, left, right });
            if !self.cursor.eat(",") {
                return Ok((reduction, counts));
            }
        }
    }

    fn tile_step(
        &mut self,
        operands: &mut Vec<crate::kernel::Address>,
    ) -> Result<TileStep, ParseKernelError> {
        if let Some(kind) = self.function()? {
            return Ok(TileStep::Apply(kind));
        }
        for (name, kind) in [("max", PoolKind::Max), ("mean", PoolKind::Mean)] {
            if self.cursor.eat_word(name) {
                self.cursor.expect_word("pool")?;
                let (height, width) = self.sides()?;
                return Ok(TileStep::Pool(Pool { kind, height, width }));
            }
        }
        if self.cursor.eat_word("multiply") {
            self.cursor.expect_word("by")?;
            operands.push(self.cursor.address()?);
            return Ok(TileStep::MultiplyScalar);
        }
        if !self.cursor.eat_word("add") {
            return Err(self.cursor.expected("a step of the tile or `}`"));
        }
        operands.push(self.cursor.address()?);
        if self.cursor.eat_word("row") {
            return Ok(TileStep::AddElement { row: self.cursor.count()? });
        }
        if !self.cursor.eat_word("per") {
            return Err(self.cursor.expected("`per row`, `per column` or `row` with a distance"));
        }
        if self.cursor.eat_word("row") {
            return Ok(TileStep::AddPerRow);
        }
        self.cursor.expect_word("column").map(|()| TileStep::AddPerColumn)
    }

    /// Parses a map after the word `map`.
    pub(super) fn map(&mut self) -> Result<Stmt, ParseKernelError> {
        let lanes = self.cursor.extent()?;
        self.cursor.expect_word("lanes")?;
        let mut map = Map {
            lanes,
            window: Vec::new(),
            loads: Vec::new(),
            exprs: Vec::new(),
            finish: 0,
            fold: Fold::None,
            stores: Vec::new(),
        };
        if self.cursor.eat_word("window") {
            map.window.push(self.cursor.extent()?);
            while self.cursor.eat(",") {
                if map.window.len() == MAX_WINDOW {
                    return Err(self.cursor.too_many("the number of a window's loops", MAX_WINDOW));
                }
                map.window.push(self.cursor.extent()?);
            }
        }
        self.cursor.expect("{")?;
        while self.cursor.peek_word().starts_with('e') {
            self.definition(&mut map)?;
        }
        map.finish = map.exprs.len();
        self.fold(&mut map)?;
        while map.fold != Fold::None && self.cursor.peek_word().starts_with('e') {
            self.definition(&mut map)?;
        }
        while self.cursor.eat_word("store") {
            map.stores.push(self.store()?);
        }
        if !self.cursor.eat("}") {
            return Err(self.cursor.expected("an expression, a reduction, `store` or `}`"));
        }
        Ok(Stmt::Map(Box::new(map)))
    }

    /// `r0 = sum of e3 over window` and so on.
    fn fold(&mut self, map: &mut Map) -> Result<(), ParseKernelError> {
        let mut over = None;
        let mut reducers = Vec::new();
        while self.cursor.peek_word().starts_with('r') {
            self.in_order('r', reducers.len())?;
            self.cursor.expect("=")?;
            let is_sum = self.cursor.eat_word("sum");
            if !is_sum {
                self.cursor.expect_word("max")?;
            }
            let has_argmax = !is_sum && self.cursor.eat_word("with");
            if has_argmax {
                self.cursor.expect_word("argmax")?;
            }
            self.cursor.expect_word("of")?;
            let value = self.id()?;
            reducers.push(match (is_sum, has_argmax) {
                (true, _) => Reducer::Sum(value),
                (false, false) => Reducer::Max(value),
                (false, true) => Reducer::MaxWithArgmax(value),
            });
            self.cursor.expect_word("over")?;
            let of_lanes = self.cursor.peek_word() == "lanes";
            let expected = if over.unwrap_or(of_lanes) { "lanes" } else { "window" };
            self.cursor.expect_word(expected)?;
            over = Some(of_lanes);
        }
        map.fold = match over {
            None => Fold::None,
            Some(true) => Fold::Lanes(reducers),
            Some(false) => Fold::Window(reducers),
        };
        Ok(())
    }

    /// A letter and the number of the next definition.
    fn in_order(&mut self, letter: char, number: usize) -> Result<(), ParseKernelError> {
        let name = format!("{letter}{number}");
        self.cursor.expect_word(&name)
    }

    fn id(&mut self) -> Result<ExprId, ParseKernelError> {
        self.cursor.numbered('e').map(ExprId)
    }

    /// `e0 = …`.
    fn definition(&mut self, map: &mut Map) -> Result<(), ParseKernelError> {
        self.in_order('e', map.exprs.len())?;
        self.cursor.expect("=")?;
        let expr = self.expr(map)?;
        map.exprs.push(expr);
        Ok(())
    }

    fn expr(&mut self, map: &mut Map) -> Result<Expr, ParseKernelError> {
        let word = self.cursor.peek_word();
        let is_numbered = |letter: char| {
            word.strip_prefix(letter)
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        if is_numbered('e') {
            return self.operation();
        }
        if is_numbered('r') {
            return self.cursor.numbered('r').map(Expr::Reduced);
        }
        if let Some(kind) = self.function()? {
            return Ok(Expr::Unary(kind, self.id()?));
        }
        if self.cursor.eat_word("slope") {
            self.cursor.expect_word("of")?;
            let Some(UnaryKind::Activation(activation)) = self.function()? else {
                return Err(self.cursor.expected("an activation"));
            };
            return Ok(Expr::Slope(activation, self.id()?));
        }
        if let Some(size) = self.cursor.eat_size() {
            let times = if self.cursor.eat("*") { self.cursor.count()? } else { 1 };
            return Ok(Expr::Size(size, times));
        }
        let words = ["load", "index", "position", "lane", "window", "argmax", "larger"];
        let Some(word) = words.into_iter().find(|word| self.cursor.eat_word(word)) else {
            return Ok(match self.cursor.constant()? {
                Constant::Float(value) => Expr::Constant(value),
                Constant::Integer(value) => Expr::Integer(value),
            });
        };
        Ok(match word {
            "load" => {
                let load = self.load(map.window.len())?;
                map.loads.push(load);
                Expr::Load(map.loads.len() - 1)
            }
            "index" => {
                let base = self.cursor.affine()?;
                Expr::Index { base, lane: if self.cursor.eat_word("by") { self.cursor.count()? } else { 1 } }
            }
            "position" => Expr::Position(self.cursor.affine()?),
            "lane" => {
                self.cursor.expect_word("mod")?;
                Expr::Phase(self.cursor.count()?)
            }
            "window" => {
                self.cursor.expect_word("index")?;
                Expr::WindowIndex
            }
            "argmax" => {
                self.cursor.expect_word("of")?;
                Expr::Argmax(self.cursor.numbered('r')?)
            }
            _ => {
                self.cursor.expect_word("of")?;
                let first = self.id()?;
                self.cursor.expect_word("and")?;
                Expr::Largest(first, self.id()?)
            }
        })
    }

    /// A function of one number with its parameter, if one is next: `relu`, `leaky_relu(0.01)`.
    fn function(&mut self) -> Result<Option<UnaryKind>, ParseKernelError> {
        let word = self.cursor.peek_word();
        let Some(kind) = UnaryKind::ALL.into_iter().find(|kind| kind.name() == word) else {
            return Ok(None);
        };
        self.cursor.expect_word(word)?;
        let UnaryKind::Activation(activation) = kind else { return Ok(Some(kind)) };
        if activation.parameter().is_none() {
            return Ok(Some(kind));
        }
        self.cursor.expect("(")?;
        let activation = activation.with_parameter(self.cursor.parameter()?);
        if activation.check().is_err() {
            return Err(self.cursor.expected("`)` after a parameter in its range"));
        }
        self.cursor.expect(")")?;
        Ok(Some(UnaryKind::Activation(activation)))
    }

    /// An operation that starts with an expression.
    fn operation(&mut self) -> Result<Expr, ParseKernelError> {
        let a = self.id()?;
        if self.cursor.eat_word("rotated") {
            self.cursor.expect_word("left")?;
            return Ok(Expr::RotateLeft(a, self.cursor.number("a number of bits")?));
        }
        if self.cursor.eat_word("below") {
            return Ok(Expr::BelowUnsigned(a, self.id()?));
        }
        if self.cursor.eat("?") {
            let b = self.id()?;
            self.cursor.expect(":")?;
            return Ok(Expr::Select(a, b, self.id()?));
        }
        if self.cursor.eat("+") {
            let b = self.id()?;
            if !self.cursor.eat("(") {
                return Ok(Expr::Add(a, b));
            }
            self.cursor.expect_word("integers")?;
            return self.cursor.expect(")").map(|()| Expr::AddInteger(a, b));
        }
        if self.cursor.eat("*") {
            let b = self.id()?;
            return Ok(match self.cursor.eat("+") {
                true => Expr::MultiplyAdd(a, b, self.id()?),
                false => Expr::Multiply(a, b),
            });
        }
        let operations: [Operation; 7] = [
            ("-", Expr::Subtract),
            ("/", Expr::Divide),
            ("<=", Expr::AtMost),
            ("<", Expr::Less),
            ("==", Expr::SameInteger),
            ("&", Expr::And),
            ("^", Expr::Xor),
        ];
        match operations.into_iter().find(|(signs, _)| self.cursor.eat(signs)) {
            Some((_, operation)) => Ok(operation(a, self.id()?)),
            None => Err(self.cursor.expected("an operation")),
        }
    }

    /// Parses a load after the word `load`.
    fn load(&mut self, loops: usize) -> Result<Load, ParseKernelError> {
        let element = self.cursor.element()?;
        let address = self.cursor.address()?;
        self.cursor.expect_word("by")?;
        let lane = self.cursor.count()?;
        let repeat = if self.cursor.eat_word("repeated") { self.cursor.count()? } else { 1 };
        let mut window = vec![0; loops];
        if self.cursor.eat_word("window") {
            for (index, distance) in window.iter_mut().enumerate() {
                self.cursor.expect(if index == 0 { "[" } else { "," })?;
                *distance = self.cursor.count()?;
            }
            self.cursor.expect("]")?;
        }
        Ok(Load { address, lane, repeat, window, element })
    }

    /// Parses a store after the word `store`.
    fn store(&mut self) -> Result<Store, ParseKernelError> {
        let element = self.cursor.element()?;
        let address = self.cursor.address()?;
        self.cursor.expect_word("by")?;
        let lane = self.cursor.count()?;
        let mode = if self.cursor.eat("+=") { Mode::Accumulate } else { Mode::Write };
        if mode == Mode::Write {
            self.cursor.expect("=")?;
        }
        Ok(Store { address, lane, element, value: self.id()?, mode })
    }
}
