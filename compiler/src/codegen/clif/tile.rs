//! The Tile leaf as a separate function: `(left, right, output, operands…, counts…)`.

use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Value};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};

use super::value::{Emit, LANES, VectorOrScalar};
use crate::kernel::{Form, PoolKind, Reduction, Start, Tile, TileStep};

/// Unroll factor of the innermost reduction loop.
const UNROLL: usize = 4;
/// A reduction of at most this many steps is unrolled completely.
const UNROLLED: usize = 16;

/// The parameters of a tile's function: pointers and counts.
pub(in crate::codegen) fn signature(tile: &Tile, convention: CallConv) -> Signature {
    let operands = tile.epilogue.iter().filter(|step| step.takes_operand()).count();
    let counts = tile.reduction.iter().filter(|reduction| reduction.count.is_none()).count();
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(I64); 3 + operands + counts];
    signature
}

/// Emits the body of a tile's function.
pub(in crate::codegen) fn build(tile: &Tile, builder: &mut FunctionBuilder<'_>, fma: bool) {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    let operand_count = tile.epilogue.iter().filter(|step| step.takes_operand()).count();
    let mut emitter = TileEmitter {
        tile,
        emit: Emit { builder, fma },
        sums: Vec::new(),
        counts: parameters[3 + operand_count..].to_vec(),
    };
    emitter.start();
    emitter.reduce(0, parameters[0], parameters[1]);
    emitter.finish(parameters[2], &parameters[3..3 + operand_count]);
    emitter.emit.builder.ins().return_(&[]);
}

struct TileEmitter<'a, 'b, 'f> {
    tile: &'a Tile,
    emit: Emit<'b, 'f>,
    /// Accumulators by row, then by column vector (outer product) or by column (inner product).
    sums: Vec<Vec<Variable>>,
    /// Counts given by the caller, in the order of the loops that need one.
    counts: Vec<Value>,
}

impl TileEmitter<'_, '_, '_> {
    fn accumulators_per_row(&self) -> usize {
        match self.tile.form {
            Form::OuterProduct => self.tile.columns.div_ceil(LANES),
            Form::InnerProduct => self.tile.columns,
        }
    }

    fn start(&mut self) {
        for _ in 0..self.tile.rows {
            let mut row = Vec::new();
            for _ in 0..self.accumulators_per_row() {
                let zero = self.emit.float(VectorOrScalar::Vector, 0.0);
                let variable = self.emit.builder.declare_var(F32X4);
                self.emit.builder.def_var(variable, zero);
                row.push(variable);
            }
            self.sums.push(row);
        }
    }

    /// Emits the reduction loop at a depth, with everything inside it.
    fn reduce(&mut self, depth: usize, left: Value, right: Value) {
        let reduction = self.tile.reduction[depth];
        let innermost = depth + 1 == self.tile.reduction.len();
        let dynamic = self.tile.reduction[..depth].iter().filter(|outer| outer.count.is_none()).count();
        match (innermost, reduction.count) {
            (true, Some(count)) => self.innermost_fixed(reduction, count, left, right),
            (true, None) => self.innermost_open(reduction, self.counts[dynamic], left, right),
            (false, count) => {
                let count = match count {
                    Some(count) => self.emit.builder.ins().iconst(I64, count as i64),
                    None => self.counts[dynamic],
                };
                self.counted(count, reduction, 1, left, right, |emitter, left, right| {
                    emitter.reduce(depth + 1, left, right);
                });
            }
        }
    }

    /// A loop that runs `count` times and moves both operands by `steps` steps of a reduction each time. Returns the
    /// operands' pointers after the last step.
    fn counted(
        &mut self,
        count: Value,
        reduction: Reduction,
        steps: usize,
        left: Value,
        right: Value,
        body: impl FnOnce(&mut Self, Value, Value),
    ) -> (Value, Value) {
        let builder = &mut *self.emit.builder;
        let (head, inside, after) = (builder.create_block(), builder.create_block(), builder.create_block());
        for _ in 0..3 {
            builder.append_block_param(head, I64);
        }
        builder.ins().jump(head, &[count.into(), left.into(), right.into()]);
        builder.switch_to_block(head);
        let state = builder.block_params(head).to_vec();
        builder.ins().brif(state[0], inside, &[], after, &[]);
        builder.switch_to_block(inside);
        body(self, state[1], state[2]);
        let builder = &mut *self.emit.builder;
        let left_next = builder.ins().iadd_imm_s(state[1], bytes(reduction.left * steps));
        let right_next = builder.ins().iadd_imm_s(state[2], bytes(reduction.right * steps));
        let rest = builder.ins().iadd_imm_s(state[0], -1);
        builder.ins().jump(head, &[rest.into(), left_next.into(), right_next.into()]);
        builder.switch_to_block(after);
        (state[1], state[2])
    }

    /// Elements of the reduction that one unrolled step takes.
    fn step_elements(&self) -> usize {
        match self.tile.form {
            Form::OuterProduct => 1,
            Form::InnerProduct => LANES,
        }
    }

    fn innermost_fixed(&mut self, reduction: Reduction, count: usize, left: Value, right: Value) {
        let step = self.step_elements();
        let turn = step * UNROLL;
        let (turns, rest) = (count / turn, count % turn);
        let (left, right) = match turns {
            _ if count <= UNROLLED * step => {
                self.steps(reduction, left, right, turns * UNROLL);
                (
                    self.moved(left, reduction.left * turns * turn),
                    self.moved(right, reduction.right * turns * turn),
                )
            }
            _ => {
                let turns = self.emit.builder.ins().iconst(I64, turns as i64);
                self.counted(turns, reduction, turn, left, right, |emitter, left, right| {
                    emitter.steps(reduction, left, right, UNROLL);
                })
            }
        };
        self.steps(reduction, left, right, rest / step);
        let done = rest / step * step;
        for index in done..rest {
            self.single_element(left, right, index);
        }
    }

    /// A pointer moved by a number of elements.
    fn moved(&mut self, pointer: Value, elements: usize) -> Value {
        if elements == 0 { pointer } else { self.emit.builder.ins().iadd_imm_s(pointer, bytes(elements)) }
    }

    fn innermost_open(&mut self, reduction: Reduction, count: Value, left: Value, right: Value) {
        let step = self.step_elements();
        let turn = step * UNROLL;
        let turns = self.emit.builder.ins().udiv_imm_s(count, turn as i64);
        let (left, right) = self.counted(turns, reduction, turn, left, right, |emitter, left, right| {
            emitter.steps(reduction, left, right, UNROLL);
        });
        let rest = self.emit.builder.ins().urem_imm_s(count, turn as i64);
        self.counted(rest, reduction, 1, left, right, |emitter, left, right| match emitter.tile.form {
            Form::OuterProduct => emitter.steps(reduction, left, right, 1),
            Form::InnerProduct => emitter.single_element(left, right, 0),
        });
    }

    /// Some unrolled steps.
    fn steps(&mut self, reduction: Reduction, left: Value, right: Value, count: usize) {
        for index in 0..count {
            match self.tile.form {
                Form::OuterProduct => self.outer_product_step(reduction, left, right, index),
                Form::InnerProduct => self.inner_product_step(left, right, index * LANES),
            }
        }
    }

    fn accumulate(&mut self, row: usize, column: usize, a: Value, b: Value) {
        let variable = self.sums[row][column];
        let sum = self.emit.builder.use_var(variable);
        let sum = self.emit.multiply_add(a, b, sum);
        self.emit.builder.def_var(variable, sum);
    }

    fn outer_product_step(&mut self, reduction: Reduction, left: Value, right: Value, index: usize) {
        let start = bytes(reduction.right * index);
        let columns = self.tile.columns;
        let vectors: Vec<Value> = (0..columns.div_ceil(LANES))
            .map(|vector| {
                let offset = start + bytes(vector * LANES);
                match columns - vector * LANES {
                    0..LANES => self.emit.load_lanes(F32, right, offset, 4, columns % LANES),
                    _ => self.emit.load(F32X4, right, offset),
                }
            })
            .collect();
        for row in 0..self.tile.rows {
            let offset = bytes(reduction.left * index) + bytes(self.tile.left_rows.start(row));
            let element = self.emit.load(F32, left, offset);
            let element = self.emit.splat(F32X4, element);
            for (column, &vector) in vectors.iter().enumerate() {
                self.accumulate(row, column, element, vector);
            }
        }
    }

    fn inner_product_step(&mut self, left: Value, right: Value, first: usize) {
        let columns: Vec<Value> = (0..self.tile.columns)
            .map(|column| self.emit.load(F32X4, right, bytes(column * self.tile.right_column + first)))
            .collect();
        for row in 0..self.tile.rows {
            let element = self.emit.load(F32X4, left, bytes(self.tile.left_rows.start(row) + first));
            for (column, &vector) in columns.iter().enumerate() {
                self.accumulate(row, column, element, vector);
            }
        }
    }

    /// One element of an inner product that fills no vector: the other lanes add zero times zero.
    fn single_element(&mut self, left: Value, right: Value, index: usize) {
        let columns: Vec<Value> = (0..self.tile.columns)
            .map(|column| {
                let offset = bytes(column * self.tile.right_column + index);
                self.emit.load_lanes(F32, right, offset, 4, 1)
            })
            .collect();
        for row in 0..self.tile.rows {
            let offset = bytes(self.tile.left_rows.start(row) + index);
            let element = self.emit.load_lanes(F32, left, offset, 4, 1);
            for (column, &vector) in columns.iter().enumerate() {
                self.accumulate(row, column, element, vector);
            }
        }
    }

    /// The finished sums of a row as vectors along the columns.
    fn row_vectors(&mut self, row: usize) -> Vec<Value> {
        let sums: Vec<Value> =
            self.sums[row].clone().into_iter().map(|variable| self.emit.builder.use_var(variable)).collect();
        match self.tile.form {
            Form::OuterProduct => sums,
            Form::InnerProduct => sums
                .chunks(LANES)
                .map(|chunk| {
                    let mut four = [chunk[0]; LANES];
                    four[..chunk.len()].copy_from_slice(chunk);
                    self.emit.sum_four(four)
                })
                .collect(),
        }
    }

    /// The number of existing columns in a row's vector.
    fn lanes_of(&self, vector: usize) -> usize {
        (self.tile.columns - vector * LANES).min(LANES)
    }

    fn load_columns(&mut self, pointer: Value, offset: i64, lanes: usize) -> Value {
        if lanes == LANES {
            self.emit.load(F32X4, pointer, offset)
        } else {
            self.emit.load_lanes(F32, pointer, offset, 4, lanes)
        }
    }

    fn finish(&mut self, output: Value, operands: &[Value]) {
        for stored in 0..self.tile.stored_rows() {
            let rows: Vec<Vec<Value>> =
                self.tile.rows_of(stored).into_iter().map(|row| self.finished(row, operands)).collect();
            for vector in 0..rows[0].len() {
                let lanes = self.lanes_of(vector);
                let element = bytes(stored * self.tile.output_row) + bytes(vector * LANES);
                let window: Vec<Value> = rows.iter().map(|row| row[vector]).collect();
                let mut value = self.pool(&window);
                if self.tile.start == Start::Output {
                    let stored = self.load_columns(output, element, lanes);
                    value = self.emit.builder.ins().fadd(stored, value);
                }
                self.emit.store_lanes(value, output, element, 4, lanes);
            }
        }
    }

    /// The vectors of a row after every step except pooling.
    fn finished(&mut self, row: usize, operands: &[Value]) -> Vec<Value> {
        let mut vectors = self.row_vectors(row);
        for (vector, value) in vectors.iter_mut().enumerate() {
            let lanes = self.lanes_of(vector);
            let mut taken = operands.iter();
            for step in &self.tile.epilogue {
                let operand = if step.takes_operand() { taken.next().copied() } else { None };
                *value = self.step(*step, operand, *value, row, bytes(vector * LANES), lanes);
            }
        }
        vectors
    }

    /// The pooled value of a window.
    fn pool(&mut self, window: &[Value]) -> Value {
        let Some(pool) = self.tile.pool() else { return window[0] };
        match pool.kind {
            PoolKind::Max => window[1..]
                .iter()
                .fold(window[0], |best, &value| self.emit.largest(VectorOrScalar::Vector, best, value)),
            PoolKind::Mean => {
                // Starts from zero, so that a negative zero becomes positive.
                let zero = self.emit.float(VectorOrScalar::Vector, 0.0);
                let sum = window.iter().fold(zero, |sum, &value| self.emit.builder.ins().fadd(sum, value));
                let count = self.emit.float(VectorOrScalar::Vector, window.len() as f32);
                self.emit.builder.ins().fdiv(sum, count)
            }
        }
    }

    fn step(
        &mut self,
        step: TileStep,
        operand: Option<Value>,
        value: Value,
        row: usize,
        column: i64,
        lanes: usize,
    ) -> Value {
        let added = match (step, operand) {
            (TileStep::Apply(kind), _) => return self.emit.unary(VectorOrScalar::Vector, kind, value),
            (TileStep::Pool(_), _) => return value,
            (TileStep::MultiplyScalar, Some(operand)) => {
                let number = self.emit.load(F32, operand, 0);
                let number = self.emit.splat(F32X4, number);
                return self.emit.builder.ins().fmul(value, number);
            }
            (TileStep::AddPerRow, Some(operand)) => {
                let number = self.emit.load(F32, operand, bytes(row));
                self.emit.splat(F32X4, number)
            }
            (TileStep::AddPerColumn, Some(operand)) => self.load_columns(operand, column, lanes),
            (TileStep::AddElement { row: stride }, Some(operand)) => {
                self.load_columns(operand, bytes(row * stride) + column, lanes)
            }
            (
                TileStep::AddPerRow
                | TileStep::AddPerColumn
                | TileStep::AddElement { .. }
                | TileStep::MultiplyScalar,
                None,
            ) => {
                unreachable!("verified: every step has its operand")
            }
        };
        self.emit.builder.ins().fadd(value, added)
    }
}

/// Elements to bytes.
fn bytes(elements: usize) -> i64 {
    4 * elements as i64
}
