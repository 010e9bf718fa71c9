//! Parses kernels from text: the output of [`text`](super::text) parses to an equal kernel.
//!
//! A comment goes from `;` to the end of the line. Parsed kernels are verified. Any text gives a kernel or an error, in
//! time and memory proportional to its length.

mod cursor;
mod error;
mod leaf;

use std::str::FromStr;

use cursor::Cursor;
pub use error::ParseKernelError;

use super::{Kernel, Split, Stmt};
use crate::cost::Cost;

/// The maximum nesting of loops and branches. Kernels of plans nest about ten deep.
const MAX_DEPTH: usize = 64;

/// The maximum number of variables. Kernels of plans have some tens.
const MAX_VARIABLES: usize = 1 << 12;

impl FromStr for Kernel {
    type Err = ParseKernelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parser = Parser { cursor: Cursor::new(text) };
        let kernel = parser.kernel()?;
        if !parser.cursor.is_at_end() {
            return Err(parser.cursor.expected("nothing behind the kernel"));
        }
        super::verify(&kernel).map_err(|reason| ParseKernelError::Invalid { reason })?;
        Ok(kernel)
    }
}

struct Parser<'t> {
    cursor: Cursor<'t>,
}

impl Parser<'_> {
    fn kernel(&mut self) -> Result<Kernel, ParseKernelError> {
        self.cursor.expect_word("kernel")?;
        let name = self.cursor.name()?;
        self.cursor.expect("{")?;
        let note = if self.cursor.eat_word("note") { self.cursor.string()? } else { String::new() };
        let cost = if self.cursor.eat_word("flops") { self.cost()? } else { Cost::default() };
        self.cursor.expect_word("variables")?;
        let too_many = self.cursor.too_many("the number of variables", MAX_VARIABLES);
        let variables = self.cursor.count()?;
        if variables > MAX_VARIABLES {
            return Err(too_many);
        }
        let thread = match self.cursor.eat(",") {
            true => {
                self.cursor.expect_word("thread")?;
                Some(self.cursor.var()?)
            }
            false => None,
        };
        let setup = match self.cursor.eat_word("each") {
            true => {
                self.cursor.expect_word("thread")?;
                self.body(0)?
            }
            false => Vec::new(),
        };
        let split = self.split()?;
        let body = self.body(0)?;
        self.cursor.expect("}")?;
        Ok(Kernel { name, note, split, setup, body, variables, thread, cost })
    }

    fn cost(&mut self) -> Result<Cost, ParseKernelError> {
        let expected = self.cursor.expected("a polynomial of open sizes in quotes, such as \"N*640 + 7\"");
        let flops = self.cursor.string().map_err(|_| expected.clone())?;
        Ok(Cost { flops: flops.parse().map_err(|_| expected)? })
    }

    fn split(&mut self) -> Result<Split, ParseKernelError> {
        if self.cursor.eat_word("serial") {
            return Ok(Split::Serial);
        }
        if !self.cursor.eat_word("parallel") {
            return Err(self.cursor.expected("`serial` or `parallel`"));
        }
        if self.cursor.eat_word("elements") {
            let var = self.cursor.var()?;
            self.cursor.expect_word("of")?;
            return Ok(Split::Lanes(var, self.cursor.extent()?));
        }
        let mut axes = Vec::new();
        if !self.cursor.rest().starts_with('{') {
            loop {
                let var = self.cursor.var()?;
                self.cursor.expect_word("in")?;
                self.cursor.expect("0..")?;
                axes.push((var, self.cursor.extent()?));
                if !self.cursor.eat(",") {
                    break;
                }
            }
        }
        Ok(Split::Axes(axes))
    }

    /// Statements in braces, at a nesting depth.
    fn body(&mut self, depth: usize) -> Result<Vec<Stmt>, ParseKernelError> {
        self.cursor.expect("{")?;
        let mut body = Vec::new();
        while !self.cursor.eat("}") {
            body.push(self.stmt(depth)?);
        }
        Ok(body)
    }

    fn stmt(&mut self, depth: usize) -> Result<Stmt, ParseKernelError> {
        if self.cursor.eat_word("tile") {
            return self.tile();
        }
        if self.cursor.eat_word("map") {
            return self.map();
        }
        let parse = match self.cursor.peek_word() {
            "for" => Self::repeat,
            "if" => Self::branch,
            "let" => Self::lookup,
            _ => return Err(self.cursor.expected("`for`, `if`, `let`, `tile`, `map` or `}`")),
        };
        if depth == MAX_DEPTH {
            return Err(self.cursor.too_many("the depth of loops and branches", MAX_DEPTH));
        }
        parse(self, depth)
    }

    fn repeat(&mut self, depth: usize) -> Result<Stmt, ParseKernelError> {
        self.cursor.expect_word("for")?;
        let var = self.cursor.var()?;
        self.cursor.expect_word("in")?;
        let start = self.cursor.extent()?;
        self.cursor.expect("..")?;
        let end = self.cursor.extent()?;
        let step = if self.cursor.eat_word("by") { self.cursor.count()? } else { 1 };
        Ok(Stmt::For { var, start, end, step, body: self.body(depth + 1)? })
    }

    fn branch(&mut self, depth: usize) -> Result<Stmt, ParseKernelError> {
        self.cursor.expect_word("if")?;
        let value = self.cursor.affine()?;
        self.cursor.expect("<")?;
        let bound = self.cursor.number("a number")?;
        let below = self.body(depth + 1)?;
        Ok(Stmt::Branch { value, bound, below, rest: self.otherwise(depth)? })
    }

    fn lookup(&mut self, depth: usize) -> Result<Stmt, ParseKernelError> {
        self.cursor.expect_word("let")?;
        let var = self.cursor.var()?;
        self.cursor.expect("=")?;
        let from = self.cursor.address()?;
        self.cursor.expect_word("below")?;
        let bound = self.cursor.count()?;
        let found = self.body(depth + 1)?;
        Ok(Stmt::Lookup { var, from, bound, found, rest: self.otherwise(depth)? })
    }

    /// `else { … }`, or nothing.
    fn otherwise(&mut self, depth: usize) -> Result<Vec<Stmt>, ParseKernelError> {
        if self.cursor.eat_word("else") { self.body(depth + 1) } else { Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests;
