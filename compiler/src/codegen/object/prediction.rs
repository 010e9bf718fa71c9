//! The functions of an object that run the network.

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_module::{FuncId, Linkage};

use super::code::port_slots;
use super::driver::{self, Operands};
use super::layout::WeightLayout;
use super::writer::{Kernels, Variants, Writer};
use crate::abi::symbol;
use crate::codegen::CodegenError;
use crate::plan::Plan;
use crate::shape::Symbol;

impl Writer<'_> {
    /// `net_run` and `net_arena_bytes`. Returns the kernels of each plan.
    pub(super) fn prediction(&mut self, supported: FuncId) -> Result<Vec<Kernels>, CodegenError> {
        let object = self.object;
        let (mut kernels, mut variants) = (Vec::new(), Variants::new());
        for (plan, start) in object.plans.iter().zip(object.weight_starts().0) {
            // Weights are prepacked when the object is made, unless it trains.
            let prepack = if object.training.is_some() { plan.prepack.clone() } else { Vec::new() };
            let own = self.kernels(&Plan { prepack, ..plan.clone() })?;
            variants.push((plan.target.vectors.bits, self.drive(plan, &own.run, start)?));
            kernels.push(own);
        }
        self.arena_bytes("arena_bytes", object.plans, &object.symbols(), supported)?;
        self.run(&variants, supported)?;
        Ok(kernels)
    }

    /// `void (weights, arena, sizes…, inputs…, outputs…)`: runs one plan, whose weights start there.
    fn drive(&mut self, plan: &Plan, kernels: &[FuncId], start: usize) -> Result<FuncId, CodegenError> {
        let object = self.object;
        let symbols = object.symbols();
        let parameters = vec![I64; 2 + symbols.len() + object.inputs.len() + object.outputs.len()];
        let name = symbol(&plan.name, "drive");
        self.function((&name, Linkage::Local), (&parameters, None), |code, parameters| {
            let kernels: Vec<_> = kernels.iter().map(|kernel| code.declared(*kernel)).collect();
            let (sizes, ports) = parameters[2..].split_at(symbols.len());
            let weights = code.builder.ins().iadd_imm_s(parameters[0], start as i64);
            let mut slots = port_slots(plan, (object.inputs, object.outputs), ports);
            for (slot, start) in WeightLayout::of(plan).parameters {
                slots.push((slot, code.builder.ins().iadd_imm_s(weights, start as i64)));
            }
            let symbols: Vec<_> = symbols.into_iter().zip(sizes.iter().copied()).collect();
            let operands =
                Operands { prepacked: weights, arena: parameters[1], symbols: &symbols, slots: &slots };
            driver::run(plan, code.builder, &kernels, &operands);
            code.builder.ins().return_(&[]);
        })
    }

    /// `int net_run(weights, arena, sizes…, inputs…, outputs…)`.
    fn run(&mut self, variants: &Variants, supported: FuncId) -> Result<(), CodegenError> {
        let object = self.object;
        let symbols = object.symbols();
        let parameters = vec![I64; 2 + symbols.len() + object.inputs.len() + object.outputs.len()];
        let name = format!("{}_run", object.name);
        let embedded = match object.embedded {
            Some(bytes) => Some(self.data("weights", false, |data| data.define(bytes.into()))?),
            None => None,
        };
        self.function((&name, Linkage::Export), (&parameters, Some(I32)), |code, parameters| {
            let (mut weights, arena) = (parameters[0], parameters[1]);
            let (sizes, ports) = parameters[2..].split_at(symbols.len());
            if let Some(embedded) = embedded {
                let own = code.address(embedded);
                weights = code.builder.ins().select(weights, weights, own);
            }
            code.check_sizes(sizes);
            code.check_memory(&[weights, arena]);
            code.check_build(weights, object.id);
            let known: Vec<(Symbol, _)> = symbols.iter().copied().zip(sizes.iter().copied()).collect();
            code.check_inputs(object.inputs, ports, &known);
            code.run_variant(variants, supported, &[&[weights], &parameters[1..]].concat());
        })?;
        Ok(())
    }
}
