//! The functions of an object that run the network.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_module::{FuncId, Linkage};

use super::ObjectPort;
use super::code::{Code, port_slots};
use super::driver::{self, Operands};
use super::layout::{HEADER_BYTES, StreamLayout, WeightLayout};
use super::writer::{Kernels, Variants, Writer};
use crate::abi::symbol;
use crate::codegen::CodegenError;
use crate::plan::{Plan, SlotKind};
use crate::shape::{Polynomial, Symbol};

impl Writer<'_> {
    /// `net_run` and `net_arena_bytes`. Returns the kernels of each plan.
    pub(super) fn prediction(
        &mut self,
        supported: FuncId,
        part: Option<FuncId>,
    ) -> Result<Vec<Kernels>, CodegenError> {
        let object = self.object;
        let (mut kernels, mut variants) = (Vec::new(), Variants::new());
        for (plan, start) in object.plans.iter().zip(object.weight_starts().0) {
            // Weights are prepacked when the object is made, unless it trains.
            let prepack = if object.training.is_some() { plan.prepack.clone() } else { Vec::new() };
            let own = self.kernels(&Plan { prepack, ..plan.clone() })?;
            variants.push((plan.target.vectors.bits, self.drive(plan, &own.run, (start, part))?));
            kernels.push(own);
        }
        self.arena_bytes("arena_bytes", object.plans, &object.symbols(), supported)?;
        if !object.states.is_empty() {
            self.stream_bytes()?;
        }
        self.run(&variants, supported)?;
        Ok(kernels)
    }

    /// The number of blocks of memory: weights, perhaps a stream, and the arena.
    fn memories(&self) -> usize {
        if self.object.states.is_empty() { 2 } else { 3 }
    }

    /// The number of parameters before the sizes: the memories, and perhaps a pool.
    fn before_sizes(&self) -> usize {
        self.memories() + usize::from(self.object.threads() > 1)
    }

    /// The types of the parameters of a run.
    fn run_signature(&self) -> Vec<Type> {
        let object = self.object;
        let ports = object.inputs.len() + object.outputs.len();
        vec![I64; self.before_sizes() + object.symbols().len() + ports]
    }

    /// `void (weights, stream, arena, pool, sizes…, inputs…, outputs…)`: runs one plan, whose weights start there.
    fn drive(
        &mut self,
        plan: &Plan,
        kernels: &[FuncId],
        (start, part): (usize, Option<FuncId>),
    ) -> Result<FuncId, CodegenError> {
        let object = self.object;
        let symbols = object.symbols();
        let (parameters, memories, before) = (self.run_signature(), self.memories(), self.before_sizes());
        let name = symbol(&plan.name, "drive");
        self.function((&name, Linkage::Local), (&parameters, None), |code, parameters| {
            let kernels: Vec<_> = kernels.iter().map(|kernel| code.declared(*kernel)).collect();
            let (sizes, ports) = parameters[before..].split_at(symbols.len());
            let weights = code.builder.ins().iadd_imm_s(parameters[0], start as i64);
            let mut slots = port_slots(plan, (object.inputs, object.outputs), ports);
            for (slot, start) in WeightLayout::of(plan).parameters {
                slots.push((slot, code.builder.ins().iadd_imm_s(weights, start as i64)));
            }
            let stream = parameters[memories - 2];
            let next = (!object.states.is_empty())
                .then(|| bind_states(code, (plan, object.states), (stream, sizes[0]), &mut slots));
            let symbols: Vec<_> = symbols.into_iter().zip(sizes.iter().copied()).collect();
            let arena = parameters[memories - 1];
            let pool = code.pool(part, parameters[before - 1]);
            let operands = Operands { prepacked: weights, arena, symbols: &symbols, slots: &slots, pool };
            driver::run(plan, code.builder, &kernels, &operands);
            if let Some(next) = next {
                code.builder.ins().store(MemFlagsData::trusted(), next, stream, 0);
            }
            code.builder.ins().return_(&[]);
        })
    }

    /// `size_t net_stream_bytes(batch)`.
    fn stream_bytes(&mut self) -> Result<(), CodegenError> {
        let name = format!("{}_stream_bytes", self.object.name);
        let set = StreamLayout::of(self.object.states).set();
        self.function((&name, Linkage::Export), (&[I64], Some(I64)), |code, parameters| {
            let parts = [(Polynomial::from(Symbol::BATCH), 2 * set)];
            let sizes = [(Symbol::BATCH, parameters[0])];
            let bytes = driver::total_bytes(code.builder, HEADER_BYTES, &parts, &sizes);
            code.builder.ins().return_(&[bytes]);
        })?;
        Ok(())
    }

    /// `int net_run(weights, stream, arena, pool, sizes…, inputs…, outputs…)`.
    fn run(&mut self, variants: &Variants, supported: FuncId) -> Result<(), CodegenError> {
        let object = self.object;
        let symbols = object.symbols();
        let (parameters, memories, before) = (self.run_signature(), self.memories(), self.before_sizes());
        let name = format!("{}_run", object.name);
        let embedded = match object.embedded {
            Some(bytes) => Some(self.data("weights", false, |data| data.define(bytes.into()))?),
            None => None,
        };
        self.function((&name, Linkage::Export), (&parameters, Some(I32)), |code, parameters| {
            let mut weights = parameters[0];
            let (sizes, ports) = parameters[before..].split_at(symbols.len());
            if let Some(embedded) = embedded {
                let own = code.address(embedded);
                weights = code.builder.ins().select(weights, weights, own);
            }
            code.check_sizes(sizes);
            code.check_memory(&[&[weights], &parameters[1..memories]].concat());
            code.check_build(weights, object.id);
            let known: Vec<(Symbol, _)> = symbols.iter().copied().zip(sizes.iter().copied()).collect();
            code.check_inputs(object.inputs, ports, &known);
            code.run_variant(variants, supported, &[&[weights], &parameters[1..]].concat());
        })?;
        Ok(())
    }
}

/// Gives the states of a stream to a run: those before it, and memory for those after it. Returns the header after the run.
fn bind_states(
    code: &mut Code<'_, '_>,
    (plan, states): (&Plan, &[ObjectPort]),
    (stream, batch): (Value, Value),
    slots: &mut Vec<(usize, Value)>,
) -> Value {
    let builder = &mut *code.builder;
    let layout = StreamLayout::of(states);
    // Any other number than 0 counts as 1, so that no content of the memory leads to another place.
    let header = builder.ins().load(I64, MemFlagsData::trusted(), stream, 0);
    let is_first = builder.ins().icmp_imm_s(IntCC::Equal, header, 0);
    let (zero, one) = (builder.ins().iconst(I64, 0), builder.ins().iconst(I64, 1));
    let next = builder.ins().select(is_first, one, zero);
    let set = builder.ins().iconst(I64, layout.set() as i64);
    let set = builder.ins().imul(set, batch);
    let (first, second) = {
        let first = builder.ins().iadd_imm_s(stream, HEADER_BYTES as i64);
        (first, builder.ins().iadd(first, set))
    };
    let mut before = builder.ins().select(is_first, first, second);
    let mut after = builder.ins().select(is_first, second, first);
    for (port, each) in states.iter().zip(layout.each) {
        for (kind, memory) in [(SlotKind::Input, before), (SlotKind::Output, after)] {
            let found = plan.slots.iter().position(|slot| slot.kind == kind && slot.name == port.name);
            slots.extend(found.map(|slot| (slot, memory)));
        }
        let each = builder.ins().iconst(I64, each as i64);
        let bytes = builder.ins().imul(each, batch);
        before = builder.ins().iadd(before, bytes);
        after = builder.ins().iadd(after, bytes);
    }
    next
}
