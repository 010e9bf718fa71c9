//! Writes the functions and data of an object into a Cranelift module.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, Signature, Type, UserFuncName, Value,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage, Module, ModuleReloc, default_libcall_names,
};
use cranelift_object::{ObjectBuilder, ObjectModule};
use target_lexicon::Architecture;

use super::code::Code;
use super::{Object, cpu, driver};
use crate::abi::{ALIGNMENT, symbol};
use crate::codegen::compile::{Compiled, compile};
use crate::codegen::isa::Isas;
use crate::codegen::{CodegenError, refused};
use crate::plan::Plan;
use crate::shape::Symbol;

pub(super) struct Writer<'w> {
    pub(super) object: &'w Object<'w>,
    pub(super) isas: Isas,
    context: Context,
    functions: FunctionBuilderContext,
    pub(super) module: ObjectModule,
}

/// The kernels of a plan.
pub(super) struct Kernels {
    pub(super) prepack: Vec<FuncId>,
    pub(super) run: Vec<FuncId>,
}

/// A function for each vector width, narrowest first.
pub(super) type Variants = Vec<(usize, FuncId)>;

impl<'w> Writer<'w> {
    pub(super) fn new(object: &'w Object<'w>, isas: Isas) -> Result<Self, CodegenError> {
        let builder = ObjectBuilder::new(isas.loops.clone(), object.name, default_libcall_names())
            .map_err(|error| refused(object.name, &error))?;
        Ok(Writer {
            object,
            isas,
            context: Context::new(),
            functions: FunctionBuilderContext::new(),
            module: ObjectModule::new(builder),
        })
    }

    /// The object file.
    pub(super) fn write(mut self) -> Result<Vec<u8>, CodegenError> {
        let name = self.object.name;
        let supported = self.supported()?;
        let part = self.part()?;
        let kernels = self.prediction(supported, part)?;
        if let Some(training) = &self.object.training {
            self.training(training, &kernels, (supported, part))?;
        }
        self.module.finish().emit().map_err(|error| refused(name, &error))
    }

    /// Compiles the kernels of a plan.
    pub(super) fn kernels(&mut self, plan: &Plan) -> Result<Kernels, CodegenError> {
        let isas = Isas::portable(&plan.target, &self.object.triple)?;
        let Compiled { prepack, run, functions } =
            compile(&mut self.module, plan, (&isas, Linkage::Local), None)?;
        functions.define(&mut self.module)?;
        Ok(Kernels {
            prepack: prepack.iter().map(|kernel| kernel.id).collect(),
            run: run.iter().map(|kernel| kernel.id).collect(),
        })
    }

    /// Declares and defines a function whose code `build` adds.
    pub(super) fn function(
        &mut self,
        (name, linkage): (&str, Linkage),
        (parameters, returns): (&[Type], Option<Type>),
        build: impl FnOnce(&mut Code<'_, '_>, &[Value]),
    ) -> Result<FuncId, CodegenError> {
        let mut signature = Signature::new(self.isas.loops.default_call_conv());
        signature.params = parameters.iter().map(|ty| AbiParam::new(*ty)).collect();
        signature.returns = returns.into_iter().map(AbiParam::new).collect();
        let id =
            self.module.declare_function(name, linkage, &signature).map_err(|error| refused(name, &error))?;
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let parameters = builder.block_params(entry).to_vec();
        build(&mut Code { module: &mut self.module, builder: &mut builder }, &parameters);
        builder.seal_all_blocks();
        builder.finalize(self.isas.loops.frontend_config());
        let code = self
            .context
            .compile(&*self.isas.loops, &mut ControlPlane::default())
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
        Ok(id)
    }

    /// Data that only the object's functions see.
    pub(super) fn data(
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

    /// `int (void)`: the widest vectors of the CPU, in bits. Finding them out takes microseconds on virtual machines, so
    /// the answer is kept.
    fn level(&mut self) -> Result<FuncId, CodegenError> {
        let name = symbol(self.object.name, "widest_vectors");
        if self.object.triple.architecture != Architecture::X86_64 {
            return self.function((&name, Linkage::Local), (&[], Some(I32)), |code, _| {
                let bits = code.builder.ins().iconst(I32, 128);
                code.builder.ins().return_(&[bits]);
            });
        }
        let mut signature = Signature::new(self.isas.loops.default_call_conv());
        signature.returns = vec![AbiParam::new(I32)];
        let id = self
            .module
            .declare_function(&name, Linkage::Local, &signature)
            .map_err(|error| refused(&name, &error))?;
        let code = cpu::widest_vectors().map_err(|error| refused(&name, &error))?;
        self.module.define_function_bytes(id, 16, &code, &[]).map_err(|error| refused(&name, &error))?;
        Ok(id)
    }

    /// `int net_supported(void)`.
    fn supported(&mut self) -> Result<FuncId, CodegenError> {
        let name = format!("{}_supported", self.object.name);
        let level = self.level()?;
        let known = self.data("known", true, |data| data.define_zeroinit(4))?;
        let widths: Vec<i64> = self.object.plans.iter().map(|plan| plan.target.vectors.bits as i64).collect();
        self.function((&name, Linkage::Export), (&[], Some(I32)), |code, _| {
            let known = code.address(known);
            let level = code.declared(level);
            let builder = &mut *code.builder;
            let kept = builder.ins().load(I32, MemFlagsData::trusted(), known, 0);
            let (find, done) = (builder.create_block(), builder.create_block());
            builder.append_block_param(done, I32);
            builder.ins().brif(kept, done, &[kept.into()], find, &[]);
            builder.switch_to_block(find);
            let call = builder.ins().call(level, &[]);
            let widest = builder.inst_results(call)[0];
            // The number kept is one more than the result, so that 0 means unknown.
            let mut found = builder.ins().iconst(I32, 1);
            for bits in widths {
                let own = builder.ins().iconst(I32, bits);
                let fits = builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, widest, own);
                let kept = builder.ins().iconst(I32, bits + 1);
                found = builder.ins().select(fits, kept, found);
            }
            // Threads that find it out at the same time store the same number.
            builder.ins().store(MemFlagsData::trusted(), found, known, 0);
            builder.ins().jump(done, &[found.into()]);
            builder.switch_to_block(done);
            let kept = builder.block_params(done)[0];
            let bits = builder.ins().iadd_imm_s(kept, -1);
            builder.ins().return_(&[bits]);
        })
    }

    /// `void part(void *job, size_t thread)`, if threads share runs: see [`driver::part`].
    pub(super) fn part(&mut self) -> Result<Option<FuncId>, CodegenError> {
        let threads = self.object.threads();
        if threads == 1 {
            return Ok(None);
        }
        let name = symbol(self.object.name, "part");
        let part = self.function((&name, Linkage::Local), (&[I64; 2], None), |code, parameters| {
            driver::part(code.builder, threads, parameters[0], parameters[1]);
            code.builder.ins().return_(&[]);
        })?;
        Ok(Some(part))
    }

    /// `size_t (sizes…)`: the bytes of the arena of some plans; 0 if the CPU is not supported.
    pub(super) fn arena_bytes(
        &mut self,
        name: &str,
        plans: &[Plan],
        symbols: &[Symbol],
        supported: FuncId,
    ) -> Result<(), CodegenError> {
        let sizes = vec![I64; symbols.len()];
        let mut variants = Variants::new();
        for plan in plans {
            let own = symbol(&plan.name, "arena");
            let id = self.function((&own, Linkage::Local), (&sizes, Some(I64)), |code, parameters| {
                let sizes: Vec<_> = symbols.iter().copied().zip(parameters.iter().copied()).collect();
                let bytes = driver::arena_bytes(plan, code.builder, &sizes);
                code.builder.ins().return_(&[bytes]);
            })?;
            variants.push((plan.target.vectors.bits, id));
        }
        let name = format!("{}_{name}", self.object.name);
        self.function((&name, Linkage::Export), (&sizes, Some(I64)), |code, parameters| {
            code.each_variant(&variants, supported, |code, variant| {
                let call = code.builder.ins().call(variant, parameters);
                let bytes = code.builder.inst_results(call)[0];
                code.builder.ins().return_(&[bytes]);
            });
            let none = code.builder.ins().iconst(I64, 0);
            code.builder.ins().return_(&[none]);
        })?;
        Ok(())
    }
}
