//! Compiles the kernels of a plan into any Cranelift module: functions as bytes with relocations, whose names are
//! symbols of an object file. The module decides where the functions go.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{FuncRef, Function, Signature, UserFuncName};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc};

use super::fallback::Failure;
use super::isa::Isas;
use super::{CodegenError, FallbackLeaf, FallbackReason, Listing, avx, clif, refused};
use crate::abi::{self, Phase};
use crate::kernel::{Kernel, Map, Stmt, Tile};
use crate::plan::Plan;

/// Functions start at a cache line.
const ALIGNMENT: u64 = abi::ALIGNMENT as u64;

/// The functions of leaves, as seen by a kernel.
struct Declared<'c, M> {
    module: &'c mut M,
    tiles: &'c HashMap<Tile, Leaf>,
    maps: &'c HashMap<avx::MapKey, Result<FuncId, FallbackReason>>,
    functions: HashMap<FuncId, FuncRef>,
}

impl<M: Module> Declared<'_, M> {
    fn declare(&mut self, id: FuncId, function: &mut Function) -> FuncRef {
        *self.functions.entry(id).or_insert_with(|| self.module.declare_func_in_func(id, function))
    }
}

impl<M: Module> clif::Leaves for Declared<'_, M> {
    fn tile(&mut self, tile: &Tile, function: &mut Function) -> FuncRef {
        self.declare(self.tiles[tile].id, function)
    }

    fn map(&mut self, map: &Map, function: &mut Function) -> Option<(FuncRef, Vec<avx::Argument>)> {
        if self.maps.is_empty() || !avx::map_pays(map) {
            return None;
        }
        let (key, arguments) = avx::MapKey::of(map);
        let id = *self.maps.get(&key)?.as_ref().ok()?;
        Some((self.declare(id, function), arguments))
    }
}

/// The function of a tile, and why it is not assembled, where AVX is in use.
struct Leaf {
    id: FuncId,
    fallbacks: Option<FallbackReason>,
}

/// The kernels of a plan: declared in a module, but not yet defined.
pub(super) struct Compiled {
    pub(super) prepack: Vec<CompiledKernel>,
    pub(super) run: Vec<CompiledKernel>,
    pub(super) functions: Functions,
}

/// A kernel in a module.
pub(super) struct CompiledKernel {
    pub(super) id: FuncId,
    /// Its leaves that fall back to Cranelift although AVX is in use.
    pub(super) fallbacks: Vec<FallbackLeaf>,
}

/// All functions of a plan.
pub(super) struct Functions(pub(super) Vec<Defined>);

/// A function as machine code.
pub(super) struct Defined {
    pub(super) id: FuncId,
    /// Its name in listings.
    pub(super) name: String,
    pub(super) code: Vec<u8>,
    alignment: u64,
    relocations: Vec<ModuleReloc>,
}

impl Functions {
    /// An upper bound of the bytes they take in memory, with alignment before each function and an extension for each
    /// call.
    pub(super) fn bytes_at_most(&self) -> usize {
        const LONG_CALL: usize = 24;
        let bytes = |function: &Defined| {
            function.alignment as usize + function.code.len() + LONG_CALL * function.relocations.len()
        };
        self.0.iter().map(bytes).sum()
    }

    /// Defines them in the module that they were compiled for.
    pub(super) fn define(&self, module: &mut impl Module) -> Result<(), CodegenError> {
        for Defined { id, name, alignment, code, relocations } in &self.0 {
            module
                .define_function_bytes(*id, *alignment, code, relocations)
                .map_err(|error| refused(name, &error))?;
        }
        Ok(())
    }
}

/// Compiles the kernels of a plan, and the leaves they call, for any module. Kernels have the names of
/// [`abi::kernel_symbol`], and are exported or not; leaves are never exported, and nothing is imported.
pub(super) fn compile<M: Module>(
    module: &mut M,
    plan: &Plan,
    (isas, linkage): (&Isas, Linkage),
    listing: Option<&mut Listing>,
) -> Result<Compiled, CodegenError> {
    let mut context = module.make_context();
    context.set_disasm(listing.is_some());
    let mut compiler = Compiler {
        isas,
        linkage,
        plan,
        module,
        context,
        functions: FunctionBuilderContext::new(),
        leaves: HashMap::new(),
        maps: HashMap::new(),
        defined: Vec::new(),
        listing,
    };
    let prepack = compiler.kernels(&plan.prepack, Phase::Prepack)?;
    let run = compiler.kernels(&plan.run, Phase::Run)?;
    Ok(Compiled { prepack, run, functions: Functions(compiler.defined) })
}

struct Compiler<'c, M> {
    isas: &'c Isas,
    /// That of kernels.
    linkage: Linkage,
    plan: &'c Plan,
    module: &'c mut M,
    context: Context,
    functions: FunctionBuilderContext,
    leaves: HashMap<Tile, Leaf>,
    /// Functions of maps, or why a map is not assembled; empty at 128 bits.
    maps: HashMap<avx::MapKey, Result<FuncId, FallbackReason>>,
    defined: Vec<Defined>,
    listing: Option<&'c mut Listing>,
}

impl<M: Module> Compiler<'_, M> {
    fn kernels(&mut self, kernels: &[Kernel], phase: Phase) -> Result<Vec<CompiledKernel>, CodegenError> {
        kernels.iter().enumerate().map(|(index, kernel)| self.kernel(kernel, phase, index)).collect()
    }

    fn kernel(
        &mut self,
        kernel: &Kernel,
        phase: Phase,
        index: usize,
    ) -> Result<CompiledKernel, CodegenError> {
        let name = format!("{phase}{index}:{}", kernel.name);
        let (mut tiles, mut maps) = (Vec::new(), Vec::new());
        kernel.visit(&mut |stmt| match stmt {
            Stmt::Tile(call) => tiles.push(&call.tile),
            Stmt::Map(map) => maps.push(map),
            Stmt::For { .. } | Stmt::Branch { .. } | Stmt::Lookup { .. } => {}
        });
        let mut fallbacks = Vec::new();
        let mut note = |leaf: String, reason: Option<FallbackReason>| {
            let fallen = reason.map(|reason| FallbackLeaf { leaf, reason });
            fallbacks.extend(fallen.filter(|fallen| !fallbacks.contains(fallen)));
        };
        for tile in tiles {
            note(format!("tile {}x{}", tile.rows, tile.columns), self.leaf(tile)?);
        }
        for map in maps {
            note("map".to_owned(), self.map(map)?);
        }
        let signature = abi::kernel_signature(self.module.isa().default_call_conv());
        let id = self
            .module
            .declare_function(&abi::kernel_symbol(&self.plan.name, phase, index), self.linkage, &signature)
            .map_err(|error| refused(&name, &error))?;
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        let mut declared = Declared {
            module: &mut *self.module,
            tiles: &self.leaves,
            maps: &self.maps,
            functions: HashMap::new(),
        };
        clif::build_kernel(kernel, self.plan, &mut builder, self.isas.fma, &mut declared);
        builder.seal_all_blocks();
        builder.finalize(self.isas.loops.frontend_config());
        self.define(id, &name, &fallbacks, false)?;
        Ok(CompiledKernel { id, fallbacks })
    }

    /// Declares the function of a leaf, which is local to its module.
    fn declare_leaf(&mut self, name: &str, signature: &Signature) -> Result<FuncId, CodegenError> {
        self.module
            .declare_function(&abi::symbol(&self.plan.name, name), Linkage::Local, signature)
            .map_err(|error| refused(name, &error))
    }

    /// Compiles a tile once for all its uses. Returns why it falls back to Cranelift, if it does.
    fn leaf(&mut self, tile: &Tile) -> Result<Option<FallbackReason>, CodegenError> {
        if let Some(leaf) = self.leaves.get(tile) {
            return Ok(leaf.fallbacks.clone());
        }
        let name = format!("tile{}_{}x{}", self.leaves.len(), tile.rows, tile.columns);
        let (avx, fallbacks) = match self.isas.avx.map(|width| avx::build_tile(tile, width)) {
            None => (None, None),
            Some(Ok(code)) => (Some(code), None),
            Some(Err(Failure::Unsupported(reason))) => (None, Some(reason)),
            Some(Err(Failure::Fault(reason))) => return Err(refused(&name, &reason)),
        };
        let convention = match avx {
            Some(_) => CallConv::SystemV,
            None => self.module.isa().default_call_conv(),
        };
        let signature = clif::tile_signature(tile, convention);
        let id = self.declare_leaf(&name, &signature)?;
        self.leaves.insert(tile.clone(), Leaf { id, fallbacks: fallbacks.clone() });
        if let Some(code) = avx {
            self.define_assembled(id, &name, code);
            return Ok(None);
        }
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        clif::build_tile(tile, &mut builder, self.isas.fma);
        builder.seal_all_blocks();
        builder.finalize(self.isas.leaves.frontend_config());
        self.define(id, &name, &[], true)?;
        Ok(fallbacks)
    }

    /// Assembles a map once for all its uses, if that pays. Returns why it falls back to Cranelift, if it does.
    fn map(&mut self, map: &Map) -> Result<Option<FallbackReason>, CodegenError> {
        let Some(width) = self.isas.avx.filter(|_| avx::map_pays(map)) else { return Ok(None) };
        let (key, _) = avx::MapKey::of(map);
        if let Some(known) = self.maps.get(&key) {
            return Ok(known.as_ref().err().cloned());
        }
        let name = format!("map{}", self.maps.len());
        let code = match avx::build_map(&key, width) {
            Ok(code) => code,
            Err(Failure::Unsupported(reason)) => {
                self.maps.insert(key, Err(reason.clone()));
                return Ok(Some(reason));
            }
            Err(Failure::Fault(reason)) => return Err(refused(&name, &reason)),
        };
        let id = self.declare_leaf(&name, &clif::map_signature())?;
        self.maps.insert(key, Ok(id));
        self.define_assembled(id, &name, code);
        Ok(None)
    }

    /// Adds an assembled function.
    fn define_assembled(&mut self, id: FuncId, name: &str, code: Vec<u8>) {
        if let Some(listing) = &mut self.listing {
            listing.machine.push((name.to_owned(), avx::listing(&code)));
        }
        let name = name.to_owned();
        self.defined.push(Defined { id, name, alignment: ALIGNMENT, code, relocations: Vec::new() });
    }

    fn define(
        &mut self,
        id: FuncId,
        name: &str,
        fallbacks: &[FallbackLeaf],
        is_leaf: bool,
    ) -> Result<(), CodegenError> {
        let remarks: String = fallbacks.iter().map(|leaf| format!("; {leaf}\n")).collect();
        if let Some(listing) = &mut self.listing {
            listing.clif.push((name.to_owned(), format!("{remarks}{}", self.context.func.display())));
        }
        let isa = if is_leaf { &self.isas.leaves } else { &self.isas.loops };
        let code = self
            .context
            .compile(&**isa, &mut ControlPlane::default())
            .map_err(|error| refused(name, &format!("{:?}", error.inner)))?;
        let alignment = u64::from(code.buffer.alignment).max(ALIGNMENT);
        let bytes = code.code_buffer().to_vec();
        if let Some(listing) = &mut self.listing {
            let text = code.vcode.as_deref().unwrap_or_default();
            listing.machine.push((name.to_owned(), format!("{remarks}{text}")));
        }
        let relocations = code.buffer.relocs().to_vec();
        let relocations: Vec<ModuleReloc> = relocations
            .iter()
            .map(|relocation| ModuleReloc::from_mach_reloc(relocation, &self.context.func, id))
            .collect();
        self.defined.push(Defined { id, name: name.to_owned(), alignment, code: bytes, relocations });
        self.module.clear_context(&mut self.context);
        self.context.set_disasm(self.listing.is_some());
        Ok(())
    }
}
