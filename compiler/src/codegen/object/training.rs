//! The functions of an object that train the network: a step, its initial state, and weights from a state.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64, Type};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use cranelift_module::{DataId, FuncId, Linkage};

use super::code::{Code, port_slots};
use super::driver::{self, Operands};
use super::layout::{ArenaLayout, WeightLayout, place};
use super::writer::{Kernels, Variants, Writer};
use super::{RunStatus, Training};
use crate::abi::symbol;
use crate::autodiff::names;
use crate::codegen::CodegenError;
use crate::plan::{Plan, SlotKind};
use crate::shape::Symbol;

const MEMORY: MemFlagsData = MemFlagsData::trusted();

impl Writer<'_> {
    /// All functions of the training. `kernels` are those of the plans of runs.
    pub(super) fn training(
        &mut self,
        training: &Training<'_>,
        kernels: &[Kernels],
        (supported, part): (FuncId, Option<FuncId>),
    ) -> Result<(), CodegenError> {
        let object = self.object;
        let (mut steps, mut packs) = (Variants::new(), Variants::new());
        for plan in training.plans {
            let own = self.kernels(plan)?;
            steps.push((plan.target.vectors.bits, self.drive_step(training, plan, (&own.run, part))?));
        }
        for ((plan, start), kernels) in object.plans.iter().zip(object.weight_starts().0).zip(kernels) {
            let own = self.drive_pack(training, (plan, start), (&kernels.prepack, part))?;
            packs.push((plan.target.vectors.bits, own));
        }
        self.arena_bytes("step_arena_bytes", training.plans, &training.symbols(), supported)?;
        self.step(training, &steps, supported)?;
        self.pack(training, &packs, supported)?;
        match training.embedded {
            Some(state) => self.init(state),
            None => Ok(()),
        }
    }

    /// The constants of a plan, as an image of the start of its prepacked memory.
    fn constants(&mut self, plan: &Plan) -> Result<Option<(DataId, usize)>, CodegenError> {
        let mut image: Vec<u8> = Vec::new();
        for (buffer, values) in &plan.constants {
            let start = 4 * plan.prepacked_offset(*buffer);
            let end = start + 4 * values.len();
            image.resize(image.len().max(end.next_multiple_of(8)), 0);
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            image[start..end].copy_from_slice(&bytes);
        }
        if image.is_empty() {
            return Ok(None);
        }
        let bytes = image.len();
        let name = format!("{}_constants", plan.name);
        Ok(Some((self.data(&name, false, |data| data.define(image.into()))?, bytes)))
    }

    /// `void (state, arena, pool, sizes…, inputs…, learning_rate, outputs…)`: runs one plan of the step.
    fn drive_step(
        &mut self,
        training: &Training<'_>,
        plan: &Plan,
        (kernels, part): (&[FuncId], Option<FuncId>),
    ) -> Result<FuncId, CodegenError> {
        let name = symbol(&plan.name, "drive");
        let constants = self.constants(plan)?;
        let symbols = training.symbols();
        let signature = step_signature(training);
        self.function((&name, Linkage::Local), (&signature, None), |code, parameters| {
            let kernels: Vec<_> = kernels.iter().map(|kernel| code.declared(*kernel)).collect();
            let Parameters { state, arena, pool, sizes, ports, learning_rate } =
                Parameters::of(training, symbols.len(), parameters);
            let prepacked = match constants {
                Some((data, _)) => code.address(data),
                None => arena,
            };
            let mut slots = port_slots(plan, (training.inputs, training.outputs), &ports);
            let controls = ArenaLayout::of(plan).controls as i32;
            code.builder.ins().store(MEMORY, learning_rate, arena, controls);
            let powers = training.betas.map(|betas| correct(code, betas, state, (arena, controls + 4)));
            for (index, slot) in plan.slots.iter().enumerate() {
                let start = match (slot.kind, slot.name.as_str()) {
                    (SlotKind::Input, names::LEARNING_RATE) => Some((arena, controls)),
                    (SlotKind::Input, names::CORRECTION) => Some((arena, controls + 4)),
                    (SlotKind::Input, names::SEED) => Some((state, place::SEED)),
                    (SlotKind::Parameter, name) => {
                        let start = training.layout.start(name).expect("the state has every parameter");
                        Some((state, i32::try_from(start).expect("states are below 2 GiB")))
                    }
                    (SlotKind::Input | SlotKind::Output, _) => None,
                };
                if let Some((base, start)) = start {
                    slots.push((index, code.builder.ins().iadd_imm_s(base, i64::from(start))));
                }
            }
            let symbols: Vec<_> = symbols.into_iter().zip(sizes.iter().copied()).collect();
            let pool = code.pool(part, pool);
            let operands = Operands { prepacked, arena, symbols: &symbols, slots: &slots, pool };
            driver::run(plan, code.builder, &kernels, &operands);
            finish(code, state, powers);
            code.builder.ins().return_(&[]);
        })
    }

    /// `int net_step(state, arena, pool, sizes…, inputs…, learning_rate, outputs…)`.
    fn step(
        &mut self,
        training: &Training<'_>,
        variants: &Variants,
        supported: FuncId,
    ) -> Result<(), CodegenError> {
        let name = format!("{}_step", self.object.name);
        let symbols = training.symbols();
        let signature = step_signature(training);
        self.function((&name, Linkage::Export), (&signature, Some(I32)), |code, parameters| {
            let Parameters { state, arena, sizes, ports, .. } =
                Parameters::of(training, symbols.len(), parameters);
            code.check_sizes(sizes);
            let least = training.least_batch as i64;
            let is_less = code.builder.ins().icmp_imm_s(IntCC::UnsignedLessThan, sizes[0], least);
            code.fail_if(is_less, RunStatus::SingleValue);
            code.check_memory(&[state, arena]);
            code.check_build(state, training.id);
            let known: Vec<(Symbol, Value)> = symbols.iter().copied().zip(sizes.iter().copied()).collect();
            code.check_inputs(training.inputs, &ports, &known);
            code.run_variant(variants, supported, parameters);
        })?;
        Ok(())
    }

    /// `void (state, weights, arena)`: prepacks the weights of one plan, which start there.
    fn drive_pack(
        &mut self,
        training: &Training<'_>,
        (plan, start): (&Plan, usize),
        (kernels, part): (&[FuncId], Option<FuncId>),
    ) -> Result<FuncId, CodegenError> {
        let name = symbol(&plan.name, "pack");
        let constants = self.constants(plan)?;
        self.function((&name, Linkage::Local), (&[I64; 3], None), |code, parameters| {
            let &[state, weights, arena] = parameters else { unreachable!("there are three parameters") };
            let kernels: Vec<_> = kernels.iter().map(|kernel| code.declared(*kernel)).collect();
            let weights = code.builder.ins().iadd_imm_s(weights, start as i64);
            if let Some((data, bytes)) = constants {
                let from = code.address(data);
                code.copy(from, weights, bytes);
            }
            let tensor = |code: &mut Code<'_, '_>, slot: usize| {
                let start =
                    training.layout.start(&plan.slots[slot].name).expect("the state has every parameter");
                code.builder.ins().iadd_imm_s(state, start as i64)
            };
            let parameters =
                plan.slots.iter().enumerate().filter(|(_, slot)| slot.kind == SlotKind::Parameter);
            let slots: Vec<_> = parameters.map(|(slot, _)| (slot, tensor(code, slot))).collect();
            let one = code.builder.ins().iconst(I64, 1);
            let symbols: Vec<_> = plan.sizes.symbols().into_iter().map(|symbol| (symbol, one)).collect();
            let nobody = code.builder.ins().iconst(I64, 0);
            let pool = code.pool(part, nobody);
            let operands = Operands { prepacked: weights, arena, symbols: &symbols, slots: &slots, pool };
            driver::prepack(plan, code.builder, &kernels, &operands);
            for (slot, start) in WeightLayout::of(plan).parameters {
                let words = plan.slots[slot].size.at(&[]).expect("parameters have fixed sizes");
                let (from, to) = (tensor(code, slot), code.builder.ins().iadd_imm_s(weights, start as i64));
                code.copy(from, to, (4 * words).next_multiple_of(8));
            }
            code.builder.ins().return_(&[]);
        })
    }

    /// `int net_pack(state, weights, arena)`.
    fn pack(
        &mut self,
        training: &Training<'_>,
        variants: &Variants,
        supported: FuncId,
    ) -> Result<(), CodegenError> {
        let name = format!("{}_pack", self.object.name);
        let header = self.object.weights_header(0);
        self.function((&name, Linkage::Export), (&[I64; 3], Some(I32)), |code, parameters| {
            code.check_memory(parameters);
            code.check_build(parameters[0], training.id);
            for (index, word) in header.as_chunks().0.iter().enumerate() {
                let word = code.builder.ins().iconst(I64, i64::from_le_bytes(*word));
                code.builder.ins().store(MEMORY, word, parameters[1], 8 * index as i32);
            }
            code.run_variant(variants, supported, parameters);
        })?;
        Ok(())
    }

    /// `int net_init(state)`.
    fn init(&mut self, state: &[u8]) -> Result<(), CodegenError> {
        let name = format!("{}_init", self.object.name);
        let data = self.data("state", false, |data| data.define(state.into()))?;
        self.function((&name, Linkage::Export), (&[I64], Some(I32)), |code, parameters| {
            code.check_memory(parameters);
            let from = code.address(data);
            code.copy(from, parameters[0], state.len());
            code.return_status(RunStatus::Done);
        })?;
        Ok(())
    }
}

/// The parameters of a step.
struct Parameters<'p> {
    state: Value,
    arena: Value,
    /// The arena again if there is no pool.
    pool: Value,
    sizes: &'p [Value],
    /// Inputs, followed by outputs.
    ports: Vec<Value>,
    learning_rate: Value,
}

impl<'p> Parameters<'p> {
    fn of(training: &Training<'_>, symbols: usize, parameters: &'p [Value]) -> Self {
        let before = 2 + usize::from(has_pool(training));
        let (sizes, others) = parameters[before..].split_at(symbols);
        let inputs = training.inputs.len();
        Parameters {
            state: parameters[0],
            arena: parameters[1],
            pool: parameters[before - 1],
            sizes,
            ports: [&others[..inputs], &others[inputs + 1..]].concat(),
            learning_rate: others[inputs],
        }
    }
}

/// Whether threads share a step.
fn has_pool(training: &Training<'_>) -> bool {
    training.plans.iter().any(|plan| plan.threads > 1)
}

/// The types of the parameters of a step.
fn step_signature(training: &Training<'_>) -> Vec<Type> {
    let before = 2 + usize::from(has_pool(training)) + training.symbols().len() + training.inputs.len();
    let before = vec![I64; before];
    [before, vec![F32], vec![I64; training.outputs.len()]].concat()
}

/// Stores Adam's correction for a step, `1 − βᵗ` in single precision, at a place. Returns the powers `βᵗ`: the running
/// products differ from powers by less than a rounding of single precision.
fn correct(
    code: &mut Code<'_, '_>,
    betas: [f64; 2],
    state: Value,
    (base, start): (Value, i32),
) -> [Value; 2] {
    [0, 1].map(|index| {
        let ins = &mut *code.builder;
        let before = ins.ins().load(F64, MEMORY, state, place::POWERS + 8 * index);
        let beta = ins.ins().f64const(betas[index as usize]);
        let power = ins.ins().fmul(before, beta);
        let one = ins.ins().f64const(1.0);
        let correction = ins.ins().fsub(one, power);
        let correction = ins.ins().fdemote(F32, correction);
        ins.ins().store(MEMORY, correction, base, start + 4 * index);
        power
    })
}

/// Counts a step in the header of the state.
fn finish(code: &mut Code<'_, '_>, state: Value, powers: Option<[Value; 2]>) {
    let steps = code.builder.ins().load(I64, MEMORY, state, place::STEPS);
    let steps = code.builder.ins().iadd_imm_s(steps, 1);
    code.builder.ins().store(MEMORY, steps, state, place::STEPS);
    // The checksum is that of a file.
    let none = code.builder.ins().iconst(I32, 0);
    code.builder.ins().store(MEMORY, none, state, place::CHECKSUM);
    for (index, power) in powers.into_iter().flatten().enumerate() {
        code.builder.ins().store(MEMORY, power, state, place::POWERS + 8 * index as i32);
    }
}
