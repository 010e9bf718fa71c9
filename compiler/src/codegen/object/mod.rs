//! Object files: the kernels of plans, and C functions that run them in memory of the caller. They import nothing.

mod cpu;
mod driver;
mod layout;

pub use layout::WeightLayout;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, MemFlagsData, Signature, UserFuncName, Value};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage, Module, ModuleReloc, default_libcall_names,
};
use cranelift_object::{ObjectBuilder, ObjectModule};
use target_lexicon::{Aarch64Architecture, Architecture, BinaryFormat, Triple};

use self::driver::Operands;
use self::layout::HEADER_BYTES;
use super::compile::{Compiled, compile};
use super::isa::Isas;
use super::{CodegenError, refused};
use crate::abi::{ALIGNMENT, symbol};
use crate::plan::{Plan, SlotKind};
use crate::shape::{DType, Polynomial, Symbol, Type};
use crate::target::Target;

/// An input or output of a network, in the order of the C function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPort {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The least of its elements, if they are whole numbers with limits: 0 for indices, 1 for lengths of sequences.
    pub least: usize,
    /// Its elements must be at most each of these.
    pub most: Vec<Polynomial>,
}

/// What an object file is made from. The functions that it defines are, for the name `net`:
///
/// - `int net_supported(void)`: the vector width in bits that runs use on this CPU, or 0 if there is none;
/// - `size_t net_arena_bytes(size_t batch, …)`: the bytes of the arena of a run;
/// - `int net_run(const void *weights, void *arena, size_t batch, …, const float *input, …, float *output, …)`: a run. It
///   returns a [`RunStatus`].
///
/// The other open sizes follow the batch in the order of [`Object::symbols`].
#[derive(Clone, Debug)]
pub struct Object<'p> {
    /// The prefix of the functions: a C identifier.
    pub name: &'p str,
    /// The same network planned for one thread and different vector widths, narrowest first.
    pub plans: &'p [Plan],
    /// The inputs, in order.
    pub inputs: &'p [ObjectPort],
    /// The outputs, in order.
    pub outputs: &'p [ObjectPort],
    /// Identifies the layout of the weights: a run refuses those of another build.
    pub id: u32,
    /// The platform.
    pub triple: Triple,
    /// Weights in the object, for runs whose `weights` are `NULL`.
    pub embedded: Option<&'p [u8]>,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// The outputs are written.
    Done = 0,
    /// The CPU has none of the instruction sets of the object.
    UnsupportedCpu = 1,
    /// The weights are those of another build.
    OtherWeights = 2,
    /// The batch or another size is 0.
    ZeroSize = 3,
    /// The weights or the arena are `NULL`, or not aligned to 64 bytes.
    Memory = 4,
    /// An index or a length is outside its limits.
    Index = 5,
}

/// Checks that there is code for a platform, in its format of object files.
///
/// ```
/// use windlass_compiler::codegen::object::check_platform;
/// assert!(check_platform(&"x86_64-apple-darwin".parse()?).is_ok());
/// assert!(check_platform(&"aarch64-pc-windows-msvc".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CodegenError::Target`].
pub fn check_platform(triple: &Triple) -> Result<(), CodegenError> {
    let refused = |reason: &str| Err(CodegenError::Target { reason: reason.to_owned() });
    let target = match (triple.architecture, triple.binary_format) {
        (Architecture::X86_64, BinaryFormat::Elf | BinaryFormat::Macho | BinaryFormat::Coff) => {
            Target::x86_64(128)
        }
        (Architecture::Aarch64(Aarch64Architecture::Aarch64), BinaryFormat::Elf | BinaryFormat::Macho) => {
            Target::aarch64()
        }
        (Architecture::Aarch64(_), _) => {
            return refused("objects for aarch64 are little-endian, for Linux or macOS");
        }
        _ => return refused("objects are for x86-64 and aarch64, as ELF, Mach-O or COFF"),
    };
    Isas::portable(&target, triple).map(|_| ())
}

/// The version of the format of weights.
const VERSION: u32 = 1;

impl Object<'_> {
    /// The open sizes of a run, in the order of the C functions: the batch first.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut symbols = vec![Symbol::BATCH];
        let ports = self.inputs.iter().chain(self.outputs);
        for symbol in ports.flat_map(|port| port.ty.shape.symbols()) {
            if !symbols.contains(&symbol) {
                symbols.push(symbol);
            }
        }
        symbols
    }

    /// The start of the weights of each plan in a file of weights, in bytes, and the size of the file.
    pub fn weight_starts(&self) -> (Vec<usize>, usize) {
        let mut next = HEADER_BYTES;
        let starts = self.plans.iter().map(|plan| {
            let start = next;
            next += WeightLayout::of(plan).bytes;
            start
        });
        (starts.collect(), next)
    }

    /// The bytes before the weights of the first plan: `windlass`, a version, the identification of the build, and a
    /// checksum of what follows.
    pub fn weights_header(&self, checksum: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(b"windlass");
        for (place, number) in [VERSION, self.id, checksum, self.plans.len() as u32].into_iter().enumerate() {
            header[8 + 4 * place..12 + 4 * place].copy_from_slice(&number.to_le_bytes());
        }
        header
    }

    /// The object file.
    ///
    /// # Errors
    /// [`CodegenError`] for a target that is not supported.
    pub fn emit(&self) -> Result<Vec<u8>, CodegenError> {
        let [first, ..] = self.plans else {
            return Err(CodegenError::Target { reason: "no instruction set is given".to_owned() });
        };
        let isas = Isas::portable(&first.target, &self.triple)?;
        let builder = ObjectBuilder::new(isas.loops.clone(), self.name, default_libcall_names())
            .map_err(|error| refused(self.name, &error))?;
        let mut writer = Writer {
            object: self,
            symbols: self.symbols(),
            context: Context::new(),
            functions: FunctionBuilderContext::new(),
            module: ObjectModule::new(builder),
        };
        writer.write(&isas)?;
        writer.module.finish().emit().map_err(|error| refused(self.name, &error))
    }
}

struct Writer<'w> {
    object: &'w Object<'w>,
    symbols: Vec<Symbol>,
    context: Context,
    functions: FunctionBuilderContext,
    module: ObjectModule,
}

/// The functions of one vector width.
struct Variant {
    bits: usize,
    /// Where its weights start.
    start: usize,
    run: FuncId,
    arena_bytes: FuncId,
}

impl Writer<'_> {
    fn write(&mut self, isas: &Isas) -> Result<(), CodegenError> {
        let (starts, _) = self.object.weight_starts();
        let mut variants = Vec::new();
        for (plan, start) in self.object.plans.iter().zip(starts) {
            let own = Isas::portable(&plan.target, &self.object.triple)?;
            // Weights are prepacked when the object is made.
            let plan = &Plan { prepack: Vec::new(), ..plan.clone() };
            let Compiled { run, functions, .. } =
                compile(&mut self.module, plan, (&own, Linkage::Local), None)?;
            functions.define(&mut self.module)?;
            let kernels: Vec<FuncId> = run.iter().map(|kernel| kernel.id).collect();
            variants.push(Variant {
                bits: plan.target.vectors.bits,
                start,
                run: self.drive(plan, &kernels, isas)?,
                arena_bytes: self.arena_of(plan, isas)?,
            });
        }
        let level = self.level(isas)?;
        let supported = self.supported(&variants, level, isas)?;
        self.arena_bytes(&variants, supported, isas)?;
        self.run(&variants, supported, isas)
    }

    fn signature(&self, parameters: usize, returns: Option<cranelift_codegen::ir::Type>) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(I64); parameters];
        signature.returns = returns.into_iter().map(AbiParam::new).collect();
        signature
    }

    fn declare(
        &mut self,
        name: &str,
        linkage: Linkage,
        signature: &Signature,
    ) -> Result<FuncId, CodegenError> {
        self.module.declare_function(name, linkage, signature).map_err(|error| refused(name, &error))
    }

    /// Defines a function whose code `build` adds.
    fn define(
        &mut self,
        (id, name): (FuncId, &str),
        signature: Signature,
        isas: &Isas,
        build: impl FnOnce(&mut ObjectModule, &mut FunctionBuilder<'_>, &[Value]),
    ) -> Result<(), CodegenError> {
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let parameters = builder.block_params(entry).to_vec();
        build(&mut self.module, &mut builder, &parameters);
        builder.seal_all_blocks();
        builder.finalize(isas.loops.frontend_config());
        let code = self
            .context
            .compile(&*isas.loops, &mut ControlPlane::default())
            .map_err(|error| refused(name, &format!("{:?}", error.inner)))?;
        let alignment = u64::from(code.buffer.alignment).max(16);
        let (bytes, relocations) = (code.code_buffer().to_vec(), code.buffer.relocs().to_vec());
        let relocations: Vec<ModuleReloc> = relocations
            .iter()
            .map(|relocation| ModuleReloc::from_mach_reloc(relocation, &self.context.func, id))
            .collect();
        self.module
            .define_function_bytes(id, alignment, &bytes, &relocations)
            .map_err(|error| refused(name, &error))?;
        self.module.clear_context(&mut self.context);
        Ok(())
    }

    /// `void (weights, arena, sizes…, inputs…, outputs…)`: runs one plan.
    fn drive(&mut self, plan: &Plan, kernels: &[FuncId], isas: &Isas) -> Result<FuncId, CodegenError> {
        let Object { inputs, outputs, .. } = *self.object;
        let signature = self.signature(2 + self.symbols.len() + inputs.len() + outputs.len(), None);
        let name = symbol(&plan.name, "drive");
        let id = self.declare(&name, Linkage::Local, &signature)?;
        let symbols = self.symbols.clone();
        self.define((id, &name), signature, isas, |module, builder, parameters| {
            let kernels: Vec<_> =
                kernels.iter().map(|kernel| module.declare_func_in_func(*kernel, builder.func)).collect();
            let (sizes, ports) = parameters[2..].split_at(symbols.len());
            let kinds = inputs.iter().map(|port| (SlotKind::Input, port));
            let kinds = kinds.chain(outputs.iter().map(|port| (SlotKind::Output, port)));
            let slots: Vec<(usize, Value)> = kinds
                .zip(ports)
                .filter_map(|((kind, port), memory)| {
                    let found =
                        plan.slots.iter().position(|slot| slot.kind == kind && slot.name == port.name);
                    Some((found?, *memory))
                })
                .collect();
            let symbols: Vec<(Symbol, Value)> = symbols.into_iter().zip(sizes.iter().copied()).collect();
            let operands =
                Operands { weights: parameters[0], arena: parameters[1], symbols: &symbols, slots: &slots };
            driver::run(plan, builder, &kernels, &operands);
            builder.ins().return_(&[]);
        })?;
        Ok(id)
    }

    /// `size_t (sizes…)`: the bytes of the arena of one plan.
    fn arena_of(&mut self, plan: &Plan, isas: &Isas) -> Result<FuncId, CodegenError> {
        let signature = self.signature(self.symbols.len(), Some(I64));
        let name = symbol(&plan.name, "arena");
        let id = self.declare(&name, Linkage::Local, &signature)?;
        let symbols = self.symbols.clone();
        self.define((id, &name), signature, isas, |_, builder, parameters| {
            let symbols: Vec<(Symbol, Value)> = symbols.into_iter().zip(parameters.iter().copied()).collect();
            let bytes = driver::arena_bytes(plan, builder, &symbols);
            builder.ins().return_(&[bytes]);
        })?;
        Ok(id)
    }

    /// `int (void)`: the widest vectors of the CPU, in bits. Finding them out takes microseconds on virtual machines, so
    /// the answer is kept.
    fn level(&mut self, isas: &Isas) -> Result<FuncId, CodegenError> {
        let signature = self.signature(0, Some(I32));
        let name = symbol(self.object.name, "widest_vectors");
        let id = self.declare(&name, Linkage::Local, &signature)?;
        if !matches!(self.object.triple.architecture, Architecture::X86_64) {
            self.define((id, &name), signature, isas, |_, builder, _| {
                let bits = builder.ins().iconst(I32, 128);
                builder.ins().return_(&[bits]);
            })?;
            return Ok(id);
        }
        let code = cpu::widest_vectors().map_err(|error| refused(&name, &error))?;
        self.module.define_function_bytes(id, 16, &code, &[]).map_err(|error| refused(&name, &error))?;
        Ok(id)
    }

    /// `int net_supported(void)`.
    fn supported(
        &mut self,
        variants: &[Variant],
        level: FuncId,
        isas: &Isas,
    ) -> Result<FuncId, CodegenError> {
        let signature = self.signature(0, Some(I32));
        let name = format!("{}_supported", self.object.name);
        let id = self.declare(&name, Linkage::Export, &signature)?;
        let known = self.data("known", true, |data| data.define_zeroinit(4))?;
        self.define((id, &name), signature, isas, |module, builder, _| {
            let known = module.declare_data_in_func(known, builder.func);
            let known = builder.ins().symbol_value(I64, known);
            let kept = builder.ins().load(I32, MemFlagsData::trusted(), known, 0);
            let (find, done) = (builder.create_block(), builder.create_block());
            builder.append_block_param(done, I32);
            builder.ins().brif(kept, done, &[kept.into()], find, &[]);
            builder.switch_to_block(find);
            let level = module.declare_func_in_func(level, builder.func);
            let call = builder.ins().call(level, &[]);
            let widest = builder.inst_results(call)[0];
            // The number kept is one more than the result, so that 0 means unknown.
            let mut found = builder.ins().iconst(I32, 1);
            for variant in variants {
                let own = builder.ins().iconst(I32, variant.bits as i64);
                let fits = builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, widest, own);
                let kept = builder.ins().iconst(I32, variant.bits as i64 + 1);
                found = builder.ins().select(fits, kept, found);
            }
            // Threads that find it out at the same time store the same number.
            builder.ins().store(MemFlagsData::trusted(), found, known, 0);
            builder.ins().jump(done, &[found.into()]);
            builder.switch_to_block(done);
            let kept = builder.block_params(done)[0];
            let bits = builder.ins().iadd_imm_s(kept, -1);
            builder.ins().return_(&[bits]);
        })?;
        Ok(id)
    }

    fn data(
        &mut self,
        name: &str,
        writable: bool,
        fill: impl FnOnce(&mut DataDescription),
    ) -> Result<DataId, CodegenError> {
        let name = symbol(self.object.name, name);
        let failed = |error: cranelift_module::ModuleError| refused(&name, &error);
        let id = self.module.declare_data(&name, Linkage::Local, writable, false).map_err(failed)?;
        let mut data = DataDescription::new();
        fill(&mut data);
        data.set_align(ALIGNMENT as u64);
        self.module.define_data(id, &data).map_err(failed)?;
        Ok(id)
    }

    /// `size_t net_arena_bytes(sizes…)`: 0 if the CPU is not supported.
    fn arena_bytes(
        &mut self,
        variants: &[Variant],
        supported: FuncId,
        isas: &Isas,
    ) -> Result<(), CodegenError> {
        let signature = self.signature(self.symbols.len(), Some(I64));
        let name = format!("{}_arena_bytes", self.object.name);
        let id = self.declare(&name, Linkage::Export, &signature)?;
        self.define((id, &name), signature, isas, |module, builder, parameters| {
            each_variant(module, builder, (variants, supported), |module, builder, variant| {
                let own = module.declare_func_in_func(variant.arena_bytes, builder.func);
                let call = builder.ins().call(own, parameters);
                let bytes = builder.inst_results(call)[0];
                builder.ins().return_(&[bytes]);
            });
            let none = builder.ins().iconst(I64, 0);
            builder.ins().return_(&[none]);
        })
    }

    /// `int net_run(weights, arena, sizes…, inputs…, outputs…)`.
    fn run(&mut self, variants: &[Variant], supported: FuncId, isas: &Isas) -> Result<(), CodegenError> {
        let object = self.object;
        let symbols = self.symbols.clone();
        let ports = object.inputs.len() + object.outputs.len();
        let signature = self.signature(2 + symbols.len() + ports, Some(I32));
        let name = format!("{}_run", object.name);
        let id = self.declare(&name, Linkage::Export, &signature)?;
        let embedded = match object.embedded {
            Some(bytes) => Some(self.data("weights", false, |data| data.define(bytes.into()))?),
            None => None,
        };
        let expected = u64::from(VERSION) | u64::from(object.id) << 32;
        self.define((id, &name), signature, isas, |module, builder, parameters| {
            let (mut weights, arena) = (parameters[0], parameters[1]);
            let sizes = &parameters[2..2 + symbols.len()];
            if let Some(embedded) = embedded {
                let own = module.declare_data_in_func(embedded, builder.func);
                let own = builder.ins().symbol_value(I64, own);
                weights = builder.ins().select(weights, weights, own);
            }
            for size in sizes {
                let is_zero = builder.ins().icmp_imm_s(IntCC::Equal, *size, 0);
                fail_if(builder, is_zero, RunStatus::ZeroSize);
            }
            for memory in [weights, arena] {
                let is_null = builder.ins().icmp_imm_s(IntCC::Equal, memory, 0);
                fail_if(builder, is_null, RunStatus::Memory);
                let low = builder.ins().band_imm_s(memory, ALIGNMENT as i64 - 1);
                let is_unaligned = builder.ins().icmp_imm_s(IntCC::NotEqual, low, 0);
                fail_if(builder, is_unaligned, RunStatus::Memory);
            }
            let found = builder.ins().load(I64, MemFlagsData::trusted(), weights, 8);
            let expected = builder.ins().iconst(I64, expected.cast_signed());
            let is_other = builder.ins().icmp(IntCC::NotEqual, found, expected);
            fail_if(builder, is_other, RunStatus::OtherWeights);
            let known: Vec<(Symbol, Value)> = symbols.iter().copied().zip(sizes.iter().copied()).collect();
            for (port, memory) in object.inputs.iter().zip(&parameters[2 + symbols.len()..]) {
                for most in port.most.iter().filter(|_| port.ty.dtype == DType::I32) {
                    let limits = (port.least, most);
                    check_indices(builder, *memory, (&port.ty.shape.count(), &known), limits);
                }
            }
            each_variant(module, builder, (variants, supported), |module, builder, variant| {
                let own = module.declare_func_in_func(variant.run, builder.func);
                let weights = builder.ins().iadd_imm_s(weights, variant.start as i64);
                let operands = [&[weights], &parameters[1..]].concat();
                builder.ins().call(own, &operands);
                let done = builder.ins().iconst(I32, RunStatus::Done as i64);
                builder.ins().return_(&[done]);
            });
            let status = builder.ins().iconst(I32, RunStatus::UnsupportedCpu as i64);
            builder.ins().return_(&[status]);
        })
    }
}

/// Adds code that ends in a return for the variant that the CPU uses, and goes on if there is none.
fn each_variant(
    module: &mut ObjectModule,
    builder: &mut FunctionBuilder<'_>,
    (variants, supported): (&[Variant], FuncId),
    mut code: impl FnMut(&mut ObjectModule, &mut FunctionBuilder<'_>, &Variant),
) {
    let supported = module.declare_func_in_func(supported, builder.func);
    let call = builder.ins().call(supported, &[]);
    let bits = builder.inst_results(call)[0];
    for variant in variants {
        let (own, next) = (builder.create_block(), builder.create_block());
        let is_own = builder.ins().icmp_imm_s(IntCC::Equal, bits, variant.bits as i64);
        builder.ins().brif(is_own, own, &[], next, &[]);
        builder.switch_to_block(own);
        code(module, builder, variant);
        builder.switch_to_block(next);
    }
}

/// Returns a status if a condition holds.
fn fail_if(builder: &mut FunctionBuilder<'_>, condition: Value, status: RunStatus) {
    let (fails, next) = (builder.create_block(), builder.create_block());
    builder.ins().brif(condition, fails, &[], next, &[]);
    builder.switch_to_block(fails);
    let status = builder.ins().iconst(I32, status as i64);
    builder.ins().return_(&[status]);
    builder.switch_to_block(next);
}

/// Returns [`RunStatus::Index`] if some elements are outside their limits.
fn check_indices(
    builder: &mut FunctionBuilder<'_>,
    memory: Value,
    (count, symbols): (&Polynomial, &[(Symbol, Value)]),
    (least, most): (usize, &Polynomial),
) {
    let most = driver::polynomial(builder, most, symbols);
    let range = builder.ins().iadd_imm_s(most, -(least as i64));
    let count = driver::polynomial(builder, count, symbols);
    let bytes = builder.ins().ishl_imm_s(count, 2);
    let end = builder.ins().iadd(memory, bytes);
    let (head, body, after) = (builder.create_block(), builder.create_block(), builder.create_block());
    builder.append_block_param(head, I64);
    builder.ins().jump(head, &[memory.into()]);
    builder.switch_to_block(head);
    let place = builder.block_params(head)[0];
    let is_before = builder.ins().icmp(IntCC::UnsignedLessThan, place, end);
    builder.ins().brif(is_before, body, &[], after, &[]);
    builder.switch_to_block(body);
    let index = builder.ins().load(I32, MemFlagsData::trusted(), place, 0);
    let index = builder.ins().sextend(I64, index);
    let above = builder.ins().iadd_imm_s(index, -(least as i64));
    let is_outside = builder.ins().icmp(IntCC::UnsignedGreaterThan, above, range);
    fail_if(builder, is_outside, RunStatus::Index);
    let next = builder.ins().iadd_imm_s(place, 4);
    builder.ins().jump(head, &[next.into()]);
    builder.switch_to_block(after);
}
