//! Functions that run a plan in memory of the caller: they fill the table of addresses, call the kernels in order, and
//! move the windows of loops.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F64, I64};
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, MemFlagsData, Signature, Value};
use cranelift_frontend::FunctionBuilder;

use super::layout::{ArenaLayout, PackArena};
use crate::abi::{ALIGNMENT, POINTER_BYTES, WORD_BYTES, entry, kernel_signature};
use crate::kernel::{Kernel, Units};
use crate::plan::{Location, Loop, Motion, Plan, Size, Traffic};
use crate::shape::{Polynomial, Symbol};

/// The least operations, and the least bytes moved, of a kernel that is worth several threads: some microseconds of one, as
/// threads need about one to start and the data that moves between their caches the rest.
const WORTH_THREADS_FLOPS: f64 = 640_000.0;
const WORTH_THREADS_BYTES: f64 = 800_000.0;

/// The operands of a run.
pub(super) struct Operands<'o> {
    /// The prepacked memory of the plan.
    pub(super) prepacked: Value,
    pub(super) arena: Value,
    pub(super) symbols: &'o [(Symbol, Value)],
    /// The memory of inputs, outputs and parameters, by slot.
    pub(super) slots: &'o [(usize, Value)],
    /// The threads of the caller, for plans of several.
    pub(super) pool: Option<Pool>,
}

/// How kernels are shared out among threads.
#[derive(Clone, Copy)]
pub(super) struct Pool {
    /// The address of the caller's function and of its context, or 0: see [`super::Object`].
    pub(super) address: Value,
    /// The function that runs a part: see [`part`].
    pub(super) part: FuncRef,
}

/// A function under construction.
pub(super) struct Driver<'d, 'f> {
    plan: &'d Plan,
    builder: &'d mut FunctionBuilder<'f>,
    kernels: &'d [Kernel],
    functions: &'d [FuncRef],
    /// The table of addresses, which is also the arena.
    table: Value,
    /// Where the values of the open sizes are.
    sizes: Value,
    values: Vec<Value>,
    symbols: &'d [(Symbol, Value)],
    pool: Option<Pool>,
    job: Value,
}

/// The value of a polynomial.
pub(super) fn polynomial(
    builder: &mut FunctionBuilder<'_>,
    of: &Polynomial,
    symbols: &[(Symbol, Value)],
) -> Value {
    let mut sum = builder.ins().iconst(I64, 0);
    for (monomial, coefficient) in of.terms() {
        let mut product = builder.ins().iconst(I64, coefficient);
        for symbol in monomial {
            let (_, value) = symbols.iter().find(|(known, _)| known == symbol).expect("every size is passed");
            product = builder.ins().imul(product, *value);
        }
        sum = builder.ins().iadd(sum, product);
    }
    sum
}

/// The value of a polynomial in double precision.
fn real(builder: &mut FunctionBuilder<'_>, of: &Polynomial, symbols: &[(Symbol, Value)]) -> Value {
    let mut sum = builder.ins().f64const(0.0);
    for (monomial, coefficient) in of.terms() {
        let mut product = builder.ins().f64const(coefficient as f64);
        for symbol in monomial {
            let (_, value) = symbols.iter().find(|(known, _)| known == symbol).expect("every size is passed");
            let value = builder.ins().fcvt_from_uint(F64, *value);
            product = builder.ins().fmul(product, value);
        }
        sum = builder.ins().fadd(sum, product);
    }
    sum
}

/// The code of `void part(void *job, size_t thread)`: calls a kernel for the units of one of several threads.
pub(super) fn part(builder: &mut FunctionBuilder<'_>, threads: usize, job: Value, thread: Value) {
    let [function, table, sizes, total, grain] = [0, 1, 2, 3, 4].map(|place: i32| {
        builder.ins().load(I64, MemFlagsData::trusted(), job, place * POINTER_BYTES as i32)
    });
    // As `Units::chunk` does.
    let above = builder.ins().iadd(total, grain);
    let above = builder.ins().iadd_imm_s(above, -1);
    let grains = builder.ins().udiv(above, grain);
    let threads = builder.ins().iconst(I64, threads as i64);
    let next = builder.ins().iadd_imm_s(thread, 1);
    let [first, last] = [thread, next].map(|thread| {
        let product = builder.ins().imul(grains, thread);
        let whole = builder.ins().udiv(product, threads);
        let bound = builder.ins().imul(whole, grain);
        builder.ins().umin(bound, total)
    });
    let signature = builder.import_signature(kernel_signature(builder.func.signature.call_conv));
    builder.ins().call_indirect(signature, function, &[table, sizes, first, last, thread]);
}

/// A number, and a value times a number.
fn scaled(builder: &mut FunctionBuilder<'_>, value: Value, factor: usize) -> Value {
    let factor = builder.ins().iconst(I64, factor as i64);
    builder.ins().imul(value, factor)
}

/// The bytes of the arena of a run, or the largest number if they overflow.
pub(super) fn arena_bytes(
    plan: &Plan,
    builder: &mut FunctionBuilder<'_>,
    symbols: &[(Symbol, Value)],
) -> Value {
    let open = plan.memory.open.iter();
    let parts = open.map(|&(size, words)| {
        (plan.sizes.polynomials()[size.index()].clone(), (words * WORD_BYTES).next_multiple_of(ALIGNMENT))
    });
    total_bytes(builder, ArenaLayout::of(plan).open, &parts.collect::<Vec<_>>(), symbols)
}

/// A number of bytes, and some for each of a polynomial; the largest number if they overflow. The sum in double precision
/// tells: it is exact enough for numbers far from the limit.
pub(super) fn total_bytes(
    builder: &mut FunctionBuilder<'_>,
    fixed: usize,
    parts: &[(Polynomial, usize)],
    symbols: &[(Symbol, Value)],
) -> Value {
    const MOST: f64 = (1u64 << 62) as f64;
    let mut bytes = builder.ins().iconst(I64, fixed as i64);
    let mut total = builder.ins().f64const(fixed as f64);
    for (size, each) in parts {
        let value = polynomial(builder, size, symbols);
        let part = scaled(builder, value, *each);
        bytes = builder.ins().iadd(bytes, part);
        let value = real(builder, size, symbols);
        let each = builder.ins().f64const(*each as f64);
        let part = builder.ins().fmul(value, each);
        total = builder.ins().fadd(total, part);
    }
    let most = builder.ins().f64const(MOST);
    let fits = builder.ins().fcmp(FloatCC::LessThan, total, most);
    let largest = builder.ins().iconst(I64, -1);
    builder.ins().select(fits, bytes, largest)
}

/// Runs a plan. `functions` are those of its kernels.
pub(super) fn run(
    plan: &Plan,
    builder: &mut FunctionBuilder<'_>,
    functions: &[FuncRef],
    operands: &Operands<'_>,
) {
    let mut driver = Driver::new(plan, builder, (&plan.run, functions), operands);
    driver.kernels(0..plan.run.len(), 0..plan.loops.len());
}

/// Prepacks the weights of a plan. `functions` are those of its kernels.
pub(super) fn prepack(
    plan: &Plan,
    builder: &mut FunctionBuilder<'_>,
    functions: &[FuncRef],
    operands: &Operands<'_>,
) {
    let start = builder.ins().iadd_imm_s(operands.arena, PackArena::of(plan).prepacking as i64);
    let mut driver = Driver::new(plan, builder, (&plan.prepack, functions), operands);
    driver.set(entry::PREPACKING, start);
    driver.kernels(0..plan.prepack.len(), 0..0);
}

impl<'d, 'f> Driver<'d, 'f> {
    /// Fills the table of addresses.
    fn new(
        plan: &'d Plan,
        builder: &'d mut FunctionBuilder<'f>,
        (kernels, functions): (&'d [Kernel], &'d [FuncRef]),
        operands: &Operands<'d>,
    ) -> Self {
        let layout = ArenaLayout::of(plan);
        let values: Vec<Value> =
            plan.sizes.polynomials().iter().map(|size| polynomial(builder, size, operands.symbols)).collect();
        let sizes = builder.ins().iadd_imm_s(operands.arena, layout.values as i64);
        for (index, value) in values.iter().enumerate() {
            builder.ins().store(MemFlagsData::trusted(), *value, sizes, (index * POINTER_BYTES) as i32);
        }
        let job = builder.ins().iadd_imm_s(operands.arena, layout.job as i64);
        let Operands { arena: table, symbols, pool, .. } = *operands;
        let mut driver =
            Driver { plan, builder, kernels, functions, table, sizes, values, symbols, pool, job };
        driver.fill_table(&layout, operands);
        driver
    }

    fn set(&mut self, entry: usize, address: Value) {
        let offset = i32::try_from(entry * POINTER_BYTES).expect("tables are small");
        self.builder.ins().store(MemFlagsData::trusted(), address, self.table, offset);
    }

    fn fill_table(&mut self, layout: &ArenaLayout, operands: &Operands<'_>) {
        let plan = self.plan;
        let fixed = self.builder.ins().iadd_imm_s(self.table, layout.fixed as i64);
        self.set(entry::FIXED, fixed);
        self.set(entry::PREPACKED, operands.prepacked);
        let scratch = self.builder.ins().iadd_imm_s(self.table, layout.scratch as i64);
        self.set(entry::SCRATCH, scratch);
        let mut next = self.builder.ins().iadd_imm_s(self.table, layout.open as i64);
        for (arena, &(size, words)) in plan.memory.open.iter().enumerate() {
            self.set(entry::arena(arena), next);
            let value = self.values[size.index()];
            let bytes = scaled(self.builder, value, (words * WORD_BYTES).next_multiple_of(ALIGNMENT));
            next = self.builder.ins().iadd(next, bytes);
        }
        let arenas = plan.memory.open.len();
        for &(slot, address) in operands.slots {
            self.set(entry::slot(arenas, slot), address);
        }
    }

    fn size(&mut self, size: Size) -> Value {
        match size.open {
            Some(open) => scaled(self.builder, self.values[open.index()], size.elements),
            None => self.builder.ins().iconst(I64, size.elements as i64),
        }
    }

    /// Calls some kernels in order, those of loops once for each step.
    fn kernels(&mut self, kernels: Range<usize>, loops: Range<usize>) {
        let (mut kernel, mut next) = (kernels.start, loops.start);
        while next < loops.end {
            let inner = &self.plan.loops[next];
            (kernel..inner.kernels.start).for_each(|kernel| self.call(kernel));
            let inside = next + 1..next + 1 + inner.inside;
            self.steps(inner, inside.clone());
            (kernel, next) = (inner.kernels.end, inside.end);
        }
        (kernel..kernels.end).for_each(|kernel| self.call(kernel));
    }

    fn call(&mut self, kernel: usize) {
        let units = Units::of(&self.kernels[kernel]);
        let mut total = self.builder.ins().iconst(I64, units.count as i64);
        for size in &units.open {
            total = self.builder.ins().imul(total, self.values[size.index()]);
        }
        match self.pool {
            Some(pool) => self.share(kernel, (total, units.grain), pool),
            None => self.call_whole(kernel, total),
        }
    }

    /// Calls a kernel for all of its units.
    fn call_whole(&mut self, kernel: usize, total: Value) {
        let zero = self.builder.ins().iconst(I64, 0);
        self.builder.ins().call(self.functions[kernel], &[self.table, self.sizes, zero, total, zero]);
    }

    /// Shares a kernel out among the threads of the caller, if there are any and it is worth it. Otherwise it runs on this one:
    /// in as many parts if each of them leaves results of its own.
    fn share(&mut self, kernel: usize, (total, grain): (Value, usize), pool: Pool) {
        let threads = self.plan.threads as i64;
        let [shared, alone, after] = std::array::from_fn(|_| self.builder.create_block());
        let has_pool = self.builder.ins().icmp_imm_s(IntCC::NotEqual, pool.address, 0);
        let is_worth = self.is_worth_threads(&self.kernels[kernel]);
        let has_parts = self.builder.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, total, grain as i64);
        let is_shared = self.builder.ins().band(has_pool, is_worth);
        let is_shared = self.builder.ins().band(is_shared, has_parts);
        self.builder.ins().brif(is_shared, shared, &[], alone, &[]);
        self.builder.switch_to_block(shared);
        self.put_job(kernel, total, grain);
        let mut signature = Signature::new(self.builder.func.signature.call_conv);
        signature.params = vec![AbiParam::new(I64); 4];
        let signature = self.builder.import_signature(signature);
        let each = self.builder.ins().load(I64, MemFlagsData::trusted(), pool.address, 0);
        let context = self.builder.ins().load(I64, MemFlagsData::trusted(), pool.address, 8);
        let part = self.builder.ins().func_addr(I64, pool.part);
        let count = self.builder.ins().iconst(I64, threads);
        self.builder.ins().call_indirect(signature, each, &[context, part, self.job, count]);
        self.builder.ins().jump(after, &[]);
        self.builder.switch_to_block(alone);
        let of = &self.kernels[kernel];
        if of.thread.is_some() || !of.setup.is_empty() {
            self.put_job(kernel, total, grain);
            for thread in 0..threads {
                let thread = self.builder.ins().iconst(I64, thread);
                self.builder.ins().call(pool.part, &[self.job, thread]);
            }
        } else {
            self.call_whole(kernel, total);
        }
        self.builder.ins().jump(after, &[]);
        self.builder.switch_to_block(after);
    }

    /// Writes what [`part`] reads.
    fn put_job(&mut self, kernel: usize, total: Value, grain: usize) {
        let function = self.builder.ins().func_addr(I64, self.functions[kernel]);
        let grain = self.builder.ins().iconst(I64, grain as i64);
        for (place, value) in [function, self.table, self.sizes, total, grain].into_iter().enumerate() {
            let place = (place * POINTER_BYTES) as i32;
            self.builder.ins().store(MemFlagsData::trusted(), value, self.job, place);
        }
    }

    /// Whether a kernel takes long enough, by its operations or by the bytes that it moves.
    fn is_worth_threads(&mut self, kernel: &Kernel) -> Value {
        let flops = real(self.builder, &kernel.cost.flops, self.symbols);
        let bytes = real(self.builder, &Traffic::of(kernel, self.plan).bytes, self.symbols);
        let [flops_needed, bytes_needed] =
            [WORTH_THREADS_FLOPS, WORTH_THREADS_BYTES].map(|needed| self.builder.ins().f64const(needed));
        let computes = self.builder.ins().fcmp(FloatCC::GreaterThanOrEqual, flops, flops_needed);
        let moves = self.builder.ins().fcmp(FloatCC::GreaterThanOrEqual, bytes, bytes_needed);
        self.builder.ins().bor(computes, moves)
    }

    /// The kernels of a loop, once for each step.
    fn steps(&mut self, inner: &Loop, inside: Range<usize>) {
        let steps = self.size(inner.steps);
        let head = self.builder.create_block();
        let body = self.builder.create_block();
        let after = self.builder.create_block();
        self.builder.append_block_param(head, I64);
        let zero = self.builder.ins().iconst(I64, 0);
        self.builder.ins().jump(head, &[zero.into()]);
        self.builder.switch_to_block(head);
        let turn = self.builder.block_params(head)[0];
        let goes_on = self.builder.ins().icmp(IntCC::UnsignedLessThan, turn, steps);
        self.builder.ins().brif(goes_on, body, &[], after, &[]);
        self.builder.switch_to_block(body);
        let step = match inner.reverse {
            true => {
                let behind = self.builder.ins().isub(steps, turn);
                self.builder.ins().iadd_imm_s(behind, -1)
            }
            false => turn,
        };
        for &window in &inner.windows {
            let position = match self.plan.windows[window].motion {
                Motion::Along(ahead) => self.builder.ins().iadd_imm_s(step, ahead as i64),
                Motion::Alternating(first) => self.alternating(turn, first),
            };
            self.move_window(window, position);
        }
        self.kernels(inner.kernels.clone(), inside);
        let next = self.builder.ins().iadd_imm_s(turn, 1);
        self.builder.ins().jump(head, &[next.into()]);
        self.builder.switch_to_block(after);
        // The last carried values are where the next step would read them.
        for &window in &inner.windows {
            if let Motion::Alternating(first) = self.plan.windows[window].motion {
                let position = self.alternating(steps, first);
                self.move_window(window, position);
            }
        }
    }

    fn alternating(&mut self, turn: Value, first: usize) -> Value {
        let turn = self.builder.ins().iadd_imm_s(turn, first as i64);
        let one = self.builder.ins().iconst(I64, 1);
        self.builder.ins().band(turn, one)
    }

    /// Sets the entry of a window to the address of its part at a position: see [`Plan::move_window`].
    fn move_window(&mut self, window: usize, position: Value) {
        let plan = self.plan;
        let moving = &plan.windows[window];
        let arenas = plan.memory.open.len();
        let (base, first) = match plan.buffers[moving.start.buffer.index()].location {
            Location::Slot(slot) => (entry::slot(arenas, slot), None),
            Location::Open { arena, offset } => {
                let size = plan.memory.open[arena].0;
                (entry::arena(arena), Some(Size { open: Some(size), elements: offset }))
            }
            Location::Fixed(offset) => (entry::FIXED, Some(Size::fixed(offset))),
            Location::Prepacked(offset) => (entry::PREPACKED, Some(Size::fixed(offset))),
            Location::Window(outer) => (entry::window(arenas, plan.slots.len(), outer), None),
            Location::Prepacking(_) | Location::Scratch(_) | Location::Nowhere => {
                unreachable!("loops move along values of a run")
            }
        };
        let size = self.size(moving.size);
        let mut words = self.builder.ins().imul(size, position);
        if let Some(first) = first {
            let first = self.size(first);
            words = self.builder.ins().iadd(words, first);
        }
        words = self.builder.ins().iadd_imm_s(words, moving.start.offset.constant);
        for term in &moving.start.offset.open {
            let factor = self.builder.ins().iconst(I64, term.factor);
            let distance = self.builder.ins().imul(self.values[term.size.index()], factor);
            words = self.builder.ins().iadd(words, distance);
        }
        let bytes = scaled(self.builder, words, WORD_BYTES);
        let offset = (base * POINTER_BYTES) as i32;
        let base = self.builder.ins().load(I64, MemFlagsData::trusted(), self.table, offset);
        let address = self.builder.ins().iadd(base, bytes);
        self.set(entry::window(arenas, plan.slots.len(), window), address);
    }
}
