//! A kernel as a function `(table, sizes, first, last, thread)`; see [`crate::abi`].

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{FuncRef, Function, InstBuilder, MemFlagsData, Value};
use cranelift_frontend::FunctionBuilder;

use super::value::Emit;
use crate::abi::{POINTER_BYTES, WORD_BYTES, entry};
use crate::codegen::avx::Argument;
use crate::kernel::{Address, Affine, BufferId, Element, Extent, Kernel, Map, Split, Stmt, Tile, TileCall};
use crate::plan::{Location, Plan};

/// The functions of leaves, declared in the calling kernel.
pub(in crate::codegen) trait Leaves {
    /// The function of a tile.
    fn tile(&mut self, tile: &Tile, function: &mut Function) -> FuncRef;

    /// The function of a map and the arguments of the call; `None` if the map's code is inlined into the kernel.
    fn map(&mut self, map: &Map, function: &mut Function) -> Option<(FuncRef, Vec<Argument>)>;
}

/// Writes the body of a kernel's function.
pub(in crate::codegen) fn build(
    kernel: &Kernel,
    plan: &Plan,
    builder: &mut FunctionBuilder<'_>,
    fma: bool,
    leaves: &mut dyn Leaves,
) {
    let start = builder.create_block();
    builder.append_block_params_for_function_params(start);
    builder.switch_to_block(start);
    let parameters = builder.block_params(start).to_vec();
    let [table, sizes, first, last, thread] = parameters[..] else { unreachable!("five parameters") };
    // Sizes are loaded once per function. They do not change during a run, so the optimiser may remove unused loads.
    let flags = MemFlagsData::trusted().with_readonly();
    let sizes = (0..plan.sizes.polynomials().len())
        .map(|index| builder.ins().load(I64, flags, sizes, (POINTER_BYTES * index) as i32))
        .collect();
    let mut emitter = KernelEmitter {
        emit: Emit { builder, fma },
        variables: vec![None; kernel.variables],
        bases: HashMap::new(),
        sizes,
        may_be_zero: plan.sizes.polynomials().iter().map(|size| !size.is_positive()).collect(),
        chunk: None,
        leaves,
    };
    if let Some(variable) = kernel.thread {
        emitter.variables[variable.0] = Some(thread);
    }
    for buffer in kernel.buffers() {
        let base = emitter.base(plan, buffer, table, thread);
        emitter.bases.insert(buffer, base);
    }
    emitter.body(&kernel.setup);
    match &kernel.split {
        Split::Serial => emitter.when_any(first, last, |emitter| emitter.body(&kernel.body)),
        Split::Lanes(var, _) => emitter.when_any(first, last, |emitter| {
            emitter.variables[var.0] = Some(first);
            emitter.chunk = Some(emitter.emit.builder.ins().isub(last, first));
            emitter.body(&kernel.body);
        }),
        Split::Axes(axes) => emitter.count(first, last, 1, |emitter, unit| {
            let mut rest = unit;
            for (position, &(var, extent)) in axes.iter().enumerate().rev() {
                let value = match extent {
                    _ if position == 0 => rest,
                    Extent::Fixed(1) => emitter.emit.builder.ins().iconst(I64, 0),
                    _ => {
                        let size = emitter.extent(extent);
                        let value = emitter.emit.builder.ins().urem(rest, size);
                        rest = emitter.emit.builder.ins().udiv(rest, size);
                        value
                    }
                };
                emitter.variables[var.0] = Some(value);
            }
            emitter.body(&kernel.body);
        }),
    }
    emitter.emit.builder.ins().return_(&[]);
}

pub(super) struct KernelEmitter<'b, 'f, 'l> {
    pub(super) emit: Emit<'b, 'f>,
    variables: Vec<Option<Value>>,
    bases: HashMap<BufferId, Value>,
    /// The open sizes of the plan.
    sizes: Vec<Value>,
    /// Which of them may be 0.
    may_be_zero: Vec<bool>,
    chunk: Option<Value>,
    pub(super) leaves: &'l mut dyn Leaves,
}

impl KernelEmitter<'_, '_, '_> {
    /// The address of a buffer's first element.
    fn base(&mut self, plan: &Plan, buffer: BufferId, table: Value, thread: Value) -> Value {
        let (index, offset) = match plan.buffers[buffer.index()].location {
            Location::Slot(slot) => (entry::slot(plan.memory.open.len(), slot), 0),
            Location::Open { arena, offset } => (entry::arena(arena), offset),
            Location::Fixed(offset) => (entry::FIXED, offset),
            Location::Prepacked(offset) => (entry::PREPACKED, offset),
            Location::Prepacking(offset) => (entry::PREPACKING, offset),
            Location::Scratch(offset) => (entry::SCRATCH, offset),
            Location::Window(window) => (entry::window(plan.memory.open.len(), plan.slots.len(), window), 0),
            Location::Nowhere => unreachable!("every buffer of a kernel has a place"),
        };
        let base = self.emit.load(I64, table, (POINTER_BYTES * index) as i64);
        let offset = self.emit.builder.ins().iconst(I64, (WORD_BYTES * offset) as i64);
        let distance = match plan.buffers[buffer.index()].location {
            Location::Open { arena, .. } => {
                let (size, _) = plan.memory.open[arena];
                self.emit.builder.ins().imul(offset, self.sizes[size.index()])
            }
            Location::Scratch(_) => {
                // Matches `scratch_start`.
                let words = WORD_BYTES * plan.memory.scratch;
                let all = self.emit.builder.ins().imul_imm_s(thread, words as i64);
                self.emit.builder.ins().iadd(all, offset)
            }
            _ => offset,
        };
        self.emit.builder.ins().iadd(base, distance)
    }

    /// The value of an extent.
    pub(super) fn extent(&mut self, extent: Extent) -> Value {
        match extent {
            Extent::Fixed(count) => self.emit.builder.ins().iconst(I64, count as i64),
            Extent::Open(size, 1) => self.sizes[size.index()],
            Extent::Open(size, times) => {
                self.emit.builder.ins().imul_imm_s(self.sizes[size.index()], times as i64)
            }
            Extent::Floor { size, times, multiple } => {
                let whole = self.extent(Extent::Open(size, times));
                self.rounded_down(whole, multiple)
            }
            Extent::ChunkFloor(multiple) => {
                let whole = self.extent(Extent::Chunk);
                self.rounded_down(whole, multiple)
            }
            Extent::Chunk => self.chunk.expect("verified: a chunk exists where it is used"),
        }
    }

    /// A number rounded down to a multiple.
    fn rounded_down(&mut self, number: Value, multiple: usize) -> Value {
        let rest = self.emit.builder.ins().urem_imm_s(number, multiple as i64);
        self.emit.builder.ins().isub(number, rest)
    }

    /// The value of an affine sum without its constant.
    fn affine_terms(&mut self, affine: &Affine) -> Option<Value> {
        let mut sum = None;
        for &(var, factor) in &affine.terms {
            let value = self.variables[var.0].expect("verified: variables are bound where they are used");
            let term = match factor {
                1 => value,
                _ => self.emit.builder.ins().imul_imm_s(value, factor),
            };
            sum = Some(self.sum(sum, term));
        }
        for term in &affine.open {
            let factor = self.emit.builder.ins().imul_imm_s(self.sizes[term.size.index()], term.factor);
            let value = match term.var {
                None => factor,
                Some(var) => {
                    let value =
                        self.variables[var.0].expect("verified: variables are bound where they are used");
                    self.emit.builder.ins().imul(value, factor)
                }
            };
            sum = Some(self.sum(sum, value));
        }
        sum
    }

    fn sum(&mut self, sum: Option<Value>, term: Value) -> Value {
        match sum {
            None => term,
            Some(sum) => self.emit.builder.ins().iadd(sum, term),
        }
    }

    /// The value of an affine sum.
    pub(super) fn affine(&mut self, affine: &Affine) -> Value {
        match self.affine_terms(affine) {
            None => self.emit.builder.ins().iconst(I64, affine.constant),
            Some(sum) => self.emit.builder.ins().iadd_imm_s(sum, affine.constant),
        }
    }

    /// A number of elements in bytes.
    pub(super) fn bytes(&mut self, elements: Value, element: Element) -> Value {
        match element {
            Element::F32 | Element::I32 => self.emit.builder.ins().ishl_imm_s(elements, 2),
            Element::U8 => elements,
        }
    }

    /// The address of an element as a pointer and a displacement in bytes.
    pub(super) fn address(&mut self, address: &Address, element: Element) -> (Value, i64) {
        let base = self.bases[&address.buffer];
        let displacement = element.bytes() as i64 * address.offset.constant;
        match self.affine_terms(&address.offset) {
            None => (base, displacement),
            Some(sum) => {
                let distance = self.bytes(sum, element);
                (self.emit.builder.ins().iadd(base, distance), displacement)
            }
        }
    }

    /// The address of an element as a pointer.
    pub(super) fn pointer(&mut self, address: &Address, element: Element) -> Value {
        let (pointer, displacement) = self.address(address, element);
        self.emit.builder.ins().iadd_imm_s(pointer, displacement)
    }

    /// Runs `body` if a range is not empty.
    fn when_any(&mut self, first: Value, last: Value, body: impl FnOnce(&mut Self)) {
        let (inside, after) = (self.emit.builder.create_block(), self.emit.builder.create_block());
        let any = self.emit.compare_integers(IntCC::SignedLessThan, first, last);
        self.emit.builder.ins().brif(any, inside, &[], after, &[]);
        self.emit.builder.switch_to_block(inside);
        body(self);
        self.emit.builder.ins().jump(after, &[]);
        self.emit.builder.switch_to_block(after);
    }

    /// A loop over `start..end`.
    pub(super) fn count(
        &mut self,
        start: Value,
        end: Value,
        step: usize,
        body: impl FnOnce(&mut Self, Value),
    ) {
        let builder = &mut *self.emit.builder;
        let (head, inside, after) = (builder.create_block(), builder.create_block(), builder.create_block());
        builder.append_block_param(head, I64);
        builder.ins().jump(head, &[start.into()]);
        builder.switch_to_block(head);
        let value = builder.block_params(head)[0];
        let goes_on = builder.ins().icmp(IntCC::SignedLessThan, value, end);
        builder.ins().brif(goes_on, inside, &[], after, &[]);
        builder.switch_to_block(inside);
        body(self, value);
        let next = self.emit.builder.ins().iadd_imm_s(value, step as i64);
        self.emit.builder.ins().jump(head, &[next.into()]);
        self.emit.builder.switch_to_block(after);
    }

    /// Runs one of two bodies.
    fn either(&mut self, condition: Value, then: &[Stmt], otherwise: &[Stmt]) {
        let builder = &mut *self.emit.builder;
        let blocks = [(); 3].map(|()| builder.create_block());
        builder.ins().brif(condition, blocks[0], &[], blocks[1], &[]);
        for (block, body) in [(blocks[0], then), (blocks[1], otherwise)] {
            self.emit.builder.switch_to_block(block);
            self.body(body);
            self.emit.builder.ins().jump(blocks[2], &[]);
        }
        self.emit.builder.switch_to_block(blocks[2]);
    }

    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, start, end, step, body } => {
                    let (start, end) = (self.extent(*start), self.extent(*end));
                    self.count(start, end, *step, |emitter, value| {
                        emitter.variables[var.0] = Some(value);
                        emitter.body(body);
                    });
                }
                Stmt::Branch { value, bound, below, rest } => {
                    let value = self.affine(value);
                    let is_below = self.emit.builder.ins().icmp_imm_s(IntCC::SignedLessThan, value, *bound);
                    self.either(is_below, below, rest);
                }
                Stmt::Lookup { var, from, bound, found, rest } => {
                    let (pointer, displacement) = self.address(from, Element::I32);
                    let index = self.emit.load_element(Element::I32, pointer, displacement);
                    // As an unsigned number, a negative index is above every bound.
                    let index = self.emit.builder.ins().uextend(I64, index);
                    let is_found =
                        self.emit.builder.ins().icmp_imm_s(IntCC::UnsignedLessThan, index, *bound as i64);
                    self.variables[var.0] = Some(index);
                    self.either(is_found, found, rest);
                }
                Stmt::Tile(call) => self.tile(call),
                // Leaves assume at least one element.
                Stmt::Map(map) => match map.lanes {
                    Extent::Open(size, _) if self.may_be_zero[size.index()] => {
                        let zero = self.emit.builder.ins().iconst(I64, 0);
                        let lanes = self.extent(map.lanes);
                        self.when_any(zero, lanes, |emitter| emitter.map(map));
                    }
                    _ => self.map(map),
                },
            }
        }
    }

    fn tile(&mut self, call: &TileCall) {
        let function = self.leaves.tile(&call.tile, self.emit.builder.func);
        let mut arguments: Vec<Value> =
            call.addresses().map(|address| self.pointer(address, Element::F32)).collect();
        for &count in &call.counts {
            arguments.push(self.extent(count));
        }
        self.emit.builder.ins().call(function, &arguments);
    }
}
