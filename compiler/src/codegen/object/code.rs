//! The code of an object's functions: checks of their arguments, and the choice of the vector width.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{FuncRef, InstBuilder, MemFlagsData, Value};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{DataId, FuncId, Module};
use cranelift_object::ObjectModule;

use super::{ObjectPort, RunStatus, driver, layout};
use crate::abi::ALIGNMENT;
use crate::plan::{Plan, SlotKind};
use crate::shape::{DType, Polynomial, Symbol};

/// A function under construction.
pub(super) struct Code<'c, 'f> {
    pub(super) module: &'c mut ObjectModule,
    pub(super) builder: &'c mut FunctionBuilder<'f>,
}

impl Code<'_, '_> {
    /// A function that can be called.
    pub(super) fn declared(&mut self, id: FuncId) -> FuncRef {
        self.module.declare_func_in_func(id, self.builder.func)
    }

    /// The threads that share a run, if there are several.
    pub(super) fn pool(&mut self, part: Option<FuncId>, address: Value) -> Option<driver::Pool> {
        part.map(|part| driver::Pool { address, part: self.declared(part) })
    }

    /// The address of data.
    pub(super) fn address(&mut self, data: DataId) -> Value {
        let data = self.module.declare_data_in_func(data, self.builder.func);
        self.builder.ins().symbol_value(I64, data)
    }

    /// Adds code that ends in a return for the variant that the CPU uses, and goes on if there is none.
    pub(super) fn each_variant(
        &mut self,
        variants: &[(usize, FuncId)],
        supported: FuncId,
        mut code: impl FnMut(&mut Self, FuncRef),
    ) {
        let supported = self.declared(supported);
        let call = self.builder.ins().call(supported, &[]);
        let found = self.builder.inst_results(call)[0];
        for &(bits, variant) in variants {
            let (own, next) = (self.builder.create_block(), self.builder.create_block());
            let is_own = self.builder.ins().icmp_imm_s(IntCC::Equal, found, bits as i64);
            self.builder.ins().brif(is_own, own, &[], next, &[]);
            self.builder.switch_to_block(own);
            let variant = self.declared(variant);
            code(self, variant);
            self.builder.switch_to_block(next);
        }
    }

    /// Calls the variant that the CPU uses and returns [`RunStatus::Done`], or [`RunStatus::UnsupportedCpu`].
    pub(super) fn run_variant(
        &mut self,
        variants: &[(usize, FuncId)],
        supported: FuncId,
        operands: &[Value],
    ) {
        self.each_variant(variants, supported, |code, variant| {
            code.builder.ins().call(variant, operands);
            code.return_status(RunStatus::Done);
        });
        self.return_status(RunStatus::UnsupportedCpu);
    }

    /// Returns a status.
    pub(super) fn return_status(&mut self, status: RunStatus) {
        let status = self.builder.ins().iconst(I32, status as i64);
        self.builder.ins().return_(&[status]);
    }

    /// Returns a status if a condition holds.
    pub(super) fn fail_if(&mut self, condition: Value, status: RunStatus) {
        let (fails, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(condition, fails, &[], next, &[]);
        self.builder.switch_to_block(fails);
        self.return_status(status);
        self.builder.switch_to_block(next);
    }

    /// Returns [`RunStatus::ZeroSize`] if a size is 0.
    pub(super) fn check_sizes(&mut self, sizes: &[Value]) {
        for size in sizes {
            let is_zero = self.builder.ins().icmp_imm_s(IntCC::Equal, *size, 0);
            self.fail_if(is_zero, RunStatus::ZeroSize);
        }
    }

    /// Returns [`RunStatus::Memory`] if memory is `NULL` or not aligned.
    pub(super) fn check_memory(&mut self, memories: &[Value]) {
        for memory in memories {
            let is_null = self.builder.ins().icmp_imm_s(IntCC::Equal, *memory, 0);
            self.fail_if(is_null, RunStatus::Memory);
            let low = self.builder.ins().band_imm_s(*memory, ALIGNMENT as i64 - 1);
            let is_unaligned = self.builder.ins().icmp_imm_s(IntCC::NotEqual, low, 0);
            self.fail_if(is_unaligned, RunStatus::Memory);
        }
    }

    /// Returns [`RunStatus::OtherWeights`] if weights or a state are those of another build.
    pub(super) fn check_build(&mut self, memory: Value, id: u32) {
        let found = self.builder.ins().load(I64, MemFlagsData::trusted(), memory, layout::place::BUILD);
        let expected = self.builder.ins().iconst(I64, layout::build(id).cast_signed());
        let is_other = self.builder.ins().icmp(IntCC::NotEqual, found, expected);
        self.fail_if(is_other, RunStatus::OtherWeights);
    }

    /// Returns [`RunStatus::Index`] if integers of inputs are outside their limits.
    pub(super) fn check_inputs(
        &mut self,
        inputs: &[ObjectPort],
        memories: &[Value],
        symbols: &[(Symbol, Value)],
    ) {
        for (port, memory) in inputs.iter().zip(memories) {
            for most in port.most.iter().filter(|_| port.ty.dtype == DType::I32) {
                self.check_indices(*memory, (&port.ty.shape.count(), symbols), (port.least, most));
            }
        }
    }

    fn check_indices(
        &mut self,
        memory: Value,
        (count, symbols): (&Polynomial, &[(Symbol, Value)]),
        (least, most): (usize, &Polynomial),
    ) {
        let builder = &mut *self.builder;
        let most = driver::polynomial(builder, most, symbols);
        let range = builder.ins().iadd_imm_s(most, -(least as i64));
        let count = driver::polynomial(builder, count, symbols);
        let bytes = builder.ins().ishl_imm_s(count, 2);
        self.count_up(bytes, 4, |code, place| {
            let place = code.builder.ins().iadd(memory, place);
            let index = code.builder.ins().load(I32, MemFlagsData::trusted(), place, 0);
            let index = code.builder.ins().sextend(I64, index);
            let above = code.builder.ins().iadd_imm_s(index, -(least as i64));
            let is_outside = code.builder.ins().icmp(IntCC::UnsignedGreaterThan, above, range);
            code.fail_if(is_outside, RunStatus::Index);
        });
    }

    /// Copies bytes, a multiple of 8.
    pub(super) fn copy(&mut self, from: Value, to: Value, bytes: usize) {
        let bytes = self.builder.ins().iconst(I64, bytes as i64);
        self.count_up(bytes, 8, |code, place| {
            let from = code.builder.ins().iadd(from, place);
            let to = code.builder.ins().iadd(to, place);
            let word = code.builder.ins().load(I64, MemFlagsData::trusted(), from, 0);
            code.builder.ins().store(MemFlagsData::trusted(), word, to, 0);
        });
    }

    /// Runs a body for each multiple of `step` below `end`.
    fn count_up(&mut self, end: Value, step: i64, body: impl FnOnce(&mut Self, Value)) {
        let builder = &mut *self.builder;
        let (head, inner, after) = (builder.create_block(), builder.create_block(), builder.create_block());
        builder.append_block_param(head, I64);
        let zero = builder.ins().iconst(I64, 0);
        builder.ins().jump(head, &[zero.into()]);
        builder.switch_to_block(head);
        let place = builder.block_params(head)[0];
        let is_before = builder.ins().icmp(IntCC::UnsignedLessThan, place, end);
        builder.ins().brif(is_before, inner, &[], after, &[]);
        builder.switch_to_block(inner);
        body(self, place);
        let next = self.builder.ins().iadd_imm_s(place, step);
        self.builder.ins().jump(head, &[next.into()]);
        self.builder.switch_to_block(after);
    }
}

/// The memory of a plan's inputs and outputs, by slot: those of the ports that it uses.
pub(super) fn port_slots(
    plan: &Plan,
    (inputs, outputs): (&[ObjectPort], &[ObjectPort]),
    memories: &[Value],
) -> Vec<(usize, Value)> {
    let kinds = inputs.iter().map(|port| (SlotKind::Input, port));
    let kinds = kinds.chain(outputs.iter().map(|port| (SlotKind::Output, port)));
    let slots = kinds.zip(memories).filter_map(|((kind, port), memory)| {
        let slot = plan.slots.iter().position(|slot| slot.kind == kind && slot.name == port.name)?;
        Some((slot, *memory))
    });
    slots.collect()
}
