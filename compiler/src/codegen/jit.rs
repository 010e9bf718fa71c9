//! Compiles kernels into the memory of this process with Cranelift's JIT.

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, default_libcall_names};

use super::compile::{Compiled, CompiledKernel, compile};
use super::isa::Isas;
use super::memory::{Code, CodeMemory};
use super::perf_map::Symbol;
use super::{CodegenError, FallbackLeaf, Listing, refused};
use crate::abi::KernelFunction;
use crate::plan::Plan;

/// A kernel that can be called while its [`Code`] is alive, and its leaves that fall back to Cranelift.
pub(super) type Callable = (KernelFunction, Vec<FallbackLeaf>);

/// The kernels of a plan in executable memory.
pub(super) struct Loaded {
    pub(super) prepack: Vec<Callable>,
    pub(super) run: Vec<Callable>,
    /// The address of each function.
    pub(super) symbols: Vec<Symbol>,
    /// The memory; `None` if there are no kernels.
    pub(super) code: Option<Code>,
}

/// Compiles the kernels of a plan and makes them executable.
pub(super) fn load(plan: &Plan, isas: &Isas, listing: Option<&mut Listing>) -> Result<Loaded, CodegenError> {
    let memory = CodeMemory::default();
    let mut builder = JITBuilder::with_isa(isas.loops.clone(), default_libcall_names());
    builder.memory_provider(Box::new(memory.clone()));
    let mut module = JITModule::new(builder);
    let Compiled { prepack, run, functions } = compile(&mut module, plan, (isas, Linkage::Export), listing)?;
    memory.reserve(functions.bytes_at_most());
    functions.define(&mut module)?;
    module.finalize_definitions().map_err(|error| refused("module", &error))?;
    let address = |id: FuncId| module.get_finalized_function(id);
    let callable = |CompiledKernel { id, fallbacks }: CompiledKernel| {
        // SAFETY: the address is that of a function with the signature `abi::kernel_signature`, in the calling convention
        // of the host's C.
        (unsafe { std::mem::transmute::<*const u8, KernelFunction>(address(id)) }, fallbacks)
    };
    let symbols = functions.0.iter().map(|function| Symbol {
        address: address(function.id) as usize,
        bytes: function.code.len(),
        name: function.name.clone(),
    });
    Ok(Loaded {
        symbols: symbols.collect(),
        prepack: prepack.into_iter().map(callable).collect(),
        run: run.into_iter().map(callable).collect(),
        code: memory.take(),
    })
}
