//! A program: the compiled kernels of a plan, in memory that is freed with it.

use std::collections::HashMap;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{FuncRef, Function, UserFuncName};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, default_libcall_names};

use super::isa::Isas;
use super::memory::{Code, CodeMemory};
use super::perf_map::{self, Symbol};
use super::{CodegenError, clif, wide};
use crate::abi::{self, KernelFunction};
use crate::kernel::{Extent, Kernel, Map, Split, Stmt, Tile};
use crate::ops::Cost;
use crate::plan::{Plan, Traffic};

/// How much work a step can be divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Units for each item of the batch, or in all.
    pub count: usize,
    /// Whether there are so many for each item.
    pub batched: bool,
    /// Shares are multiples of this many units, but for the last.
    pub grain: usize,
}

impl Units {
    fn of(kernel: &Kernel) -> Self {
        let total = |extents: &mut dyn Iterator<Item = Extent>, grain| {
            let mut units = Units { count: 1, batched: false, grain };
            for extent in extents {
                match extent {
                    Extent::Fixed(count) => units.count *= count,
                    Extent::Batch(count) => {
                        units.count *= count;
                        units.batched = true;
                    }
                    Extent::BatchFloor(_) | Extent::Share => {}
                }
            }
            units
        };
        match &kernel.split {
            Split::Serial => total(&mut std::iter::empty(), 1),
            Split::Axes(axes) => total(&mut axes.iter().map(|&(_, extent)| extent), 1),
            // A share of whole cache lines, so that threads do not write to the same one.
            Split::Lanes(_, extent) => total(&mut std::iter::once(*extent), 16),
        }
    }

    /// The share of one of several threads at a batch size: contiguous, the same for every run.
    pub fn share(&self, batch: usize, thread: usize, threads: usize) -> (usize, usize) {
        let total = self.count * if self.batched { batch } else { 1 };
        let grains = total.div_ceil(self.grain);
        let bound = |thread: usize| (grains * thread / threads * self.grain).min(total);
        (bound(thread), bound(thread + 1))
    }
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct Step {
    /// The layer and operator.
    pub name: String,
    /// The algorithm and why it was chosen.
    pub note: String,
    /// How it divides among threads.
    pub units: Units,
    /// The work.
    pub cost: Cost,
    /// What it reads and writes.
    pub traffic: Traffic,
    /// Whether each of the plan's threads leaves results of its own for a later step to add up: such a step runs once for
    /// every thread, though one may do so for all.
    pub is_per_thread: bool,
    function: KernelFunction,
}

impl Step {
    /// Runs one thread's share. One thread may run all of a step, as one of one, or the shares of several in turn.
    ///
    /// # Safety
    /// The program must be alive. `table` must hold the addresses its plan's memory and slots ask for ([`abi`]), each valid
    /// for the plan's sizes at these open sizes, aligned to 4 bytes, and not written by anyone else meanwhile; `thread` must
    /// be below the plan's threads and not be running already.
    pub unsafe fn run(
        &self,
        table: *const *mut f32,
        sizes: &[usize; abi::size::COUNT],
        thread: usize,
        threads: usize,
    ) {
        let (first, last) = self.units.share(sizes[abi::size::BATCH], thread, threads);
        // SAFETY: the function has this signature (see `abi::kernel_signature`), and the caller promises the rest.
        unsafe { (self.function)(table, sizes.as_ptr(), first, last, thread) }
    }
}

/// The text of what was compiled, for those who want to look.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Cranelift's intermediate form of each function.
    pub clif: Vec<(String, String)>,
    /// Machine code of each function.
    pub machine: Vec<(String, String)>,
}

/// The compiled kernels of a plan.
///
/// Several programs may live at once, and one may run on several threads at once; its code is freed when it is dropped.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    prepare: Vec<Step>,
    run: Vec<Step>,
    /// Bytes of machine code.
    pub code_bytes: usize,
    #[expect(dead_code, reason = "keeps the code where it is as long as the steps that point into it")]
    code: Option<Code>,
}

impl Program {
    /// Compiles a plan, and writes down what was compiled, or its names for `perf`, when asked to. Only for plans as [`plan`](crate::plan::plan)
    /// made them: running a program trusts their sizes and places. `verify` lets Cranelift check what it is
    /// given.
    ///
    /// # Errors
    /// [`CodegenError`] for a target there is no code for.
    pub(crate) fn compile(
        plan: Plan,
        verify: bool,
        listing: Option<&mut Listing>,
        names_for_perf: bool,
    ) -> Result<Program, CodegenError> {
        let isas = Isas::new(&plan.target, verify)?;
        let mut compiler = Compiler::new(&isas, listing);
        let prepare = compiler.kernels(&plan, &plan.prepare, "prepare")?;
        let run = compiler.kernels(&plan, &plan.run, "run")?;
        compiler.finish()?;
        if names_for_perf {
            perf_map::write(&plan.name, &compiler.symbols());
        }
        let memory_of = |functions: Vec<FuncId>, kernels: &[Kernel]| {
            functions
                .into_iter()
                .zip(kernels)
                .map(|(function, kernel)| {
                    let address = compiler.module.get_finalized_function(function);
                    Step {
                        name: kernel.name.clone(),
                        note: kernel.note.clone(),
                        units: Units::of(kernel),
                        cost: kernel.cost,
                        traffic: Traffic::of(kernel, &plan),
                        is_per_thread: kernel.thread.is_some() || !kernel.setup.is_empty(),
                        // SAFETY: the address is that of a function with the signature `abi::kernel_signature`, in the
                        // calling convention of the host's C.
                        function: unsafe { std::mem::transmute::<*const u8, KernelFunction>(address) },
                    }
                })
                .collect::<Vec<Step>>()
        };
        let (prepare, run) = (memory_of(prepare, &plan.prepare), memory_of(run, &plan.run));
        let code_bytes = compiler.defined.iter().map(|function| function.code.len()).sum();
        let code = compiler.memory.take();
        Ok(Program { plan, prepare, run, code_bytes, code })
    }

    /// The plan it was compiled from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Kernels to run when parameters have changed.
    pub fn prepare_steps(&self) -> &[Step] {
        &self.prepare
    }

    /// Kernels to run for every batch.
    pub fn run_steps(&self) -> &[Step] {
        &self.run
    }
}

/// Functions start at a cache line.
const ALIGNMENT: u64 = abi::ALIGNMENT as u64;

fn refused(kernel: &str, reason: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Refused { kernel: kernel.to_owned(), reason: reason.to_string() }
}

/// The functions of leaves, as a kernel sees them.
struct Declared<'c> {
    module: &'c mut JITModule,
    tiles: &'c HashMap<Tile, FuncId>,
    maps: &'c HashMap<wide::Span, Option<FuncId>>,
    functions: HashMap<FuncId, FuncRef>,
}

impl Declared<'_> {
    fn declare(&mut self, id: FuncId, function: &mut Function) -> FuncRef {
        *self.functions.entry(id).or_insert_with(|| self.module.declare_func_in_func(id, function))
    }
}

impl clif::Leaves for Declared<'_> {
    fn tile(&mut self, tile: &Tile, function: &mut Function) -> FuncRef {
        self.declare(self.tiles[tile], function)
    }

    fn map(&mut self, map: &Map, function: &mut Function) -> Option<(FuncRef, Vec<wide::Argument>)> {
        if self.maps.is_empty() || !wide::map_pays(map) {
            return None;
        }
        let (span, arguments) = wide::Span::of(map);
        let id = (*self.maps.get(&span)?)?;
        Some((self.declare(id, function), arguments))
    }
}

struct Compiler<'t> {
    target: &'t Isas,
    module: JITModule,
    memory: CodeMemory,
    context: Context,
    functions: FunctionBuilderContext,
    leaves: HashMap<Tile, FuncId>,
    /// Functions of maps; none where there is no wide code.
    maps: HashMap<wide::Span, Option<FuncId>>,
    defined: Vec<Defined>,
    listing: Option<&'t mut Listing>,
}

/// A function with its machine code, which is put into memory when all are known.
struct Defined {
    id: FuncId,
    name: String,
    alignment: u64,
    code: Vec<u8>,
    relocations: Vec<ModuleReloc>,
}

impl Defined {
    /// Bytes it may take in memory: what precedes it to align it, and what may be added to each call to reach further.
    fn bytes_at_most(&self) -> usize {
        const LONG_CALL: usize = 24;
        self.alignment as usize + self.code.len() + LONG_CALL * self.relocations.len()
    }
}

impl<'t> Compiler<'t> {
    fn new(target: &'t Isas, listing: Option<&'t mut Listing>) -> Self {
        let mut builder = JITBuilder::with_isa(target.loops.clone(), default_libcall_names());
        let memory = CodeMemory::default();
        builder.memory_provider(Box::new(memory.clone()));
        let module = JITModule::new(builder);
        let mut context = module.make_context();
        context.set_disasm(listing.is_some());
        Compiler {
            target,
            module,
            memory,
            context,
            functions: FunctionBuilderContext::new(),
            leaves: HashMap::new(),
            maps: HashMap::new(),
            defined: Vec::new(),
            listing,
        }
    }

    /// Where the functions lie, once they are finalized.
    fn symbols(&self) -> Vec<Symbol> {
        let symbol = |Defined { id, name, code, .. }: &Defined| Symbol {
            address: self.module.get_finalized_function(*id) as usize,
            bytes: code.len(),
            name: name.clone(),
        };
        self.defined.iter().map(symbol).collect()
    }

    fn kernels(&mut self, plan: &Plan, kernels: &[Kernel], stage: &str) -> Result<Vec<FuncId>, CodegenError> {
        kernels
            .iter()
            .enumerate()
            .map(|(index, kernel)| self.kernel(plan, kernel, &format!("{stage}{index}:{}", kernel.name)))
            .collect()
    }

    fn kernel(&mut self, plan: &Plan, kernel: &Kernel, name: &str) -> Result<FuncId, CodegenError> {
        let (mut tiles, mut maps) = (Vec::new(), Vec::new());
        kernel.visit(&mut |stmt| match stmt {
            Stmt::Tile(call) => tiles.push(&call.tile),
            Stmt::Map(map) => maps.push(map),
            Stmt::For { .. } | Stmt::Branch { .. } => {}
        });
        for tile in tiles {
            self.leaf(tile)?;
        }
        for map in maps {
            self.map(map)?;
        }
        let signature = abi::kernel_signature(self.module.isa().default_call_conv());
        let id = self
            .module
            .declare_function(name, Linkage::Export, &signature)
            .map_err(|error| refused(name, &error))?;
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        let mut declared = Declared {
            module: &mut self.module,
            tiles: &self.leaves,
            maps: &self.maps,
            functions: HashMap::new(),
        };
        clif::build_kernel(kernel, plan, &mut builder, self.target.fma, &mut declared);
        builder.seal_all_blocks();
        builder.finalize(self.target.loops.frontend_config());
        self.define(id, name, false)?;
        Ok(id)
    }

    /// Compiles a tile once for all its uses.
    fn leaf(&mut self, tile: &Tile) -> Result<(), CodegenError> {
        if self.leaves.contains_key(tile) {
            return Ok(());
        }
        let name = format!("tile{}:{}x{}", self.leaves.len(), tile.rows, tile.columns);
        let wide = self.target.wide.filter(|&width| wide::tile_fits(tile, width));
        let convention = match wide {
            Some(_) => CallConv::SystemV,
            None => self.module.isa().default_call_conv(),
        };
        let signature = clif::tile_signature(tile, convention);
        let id = self
            .module
            .declare_function(&name, Linkage::Local, &signature)
            .map_err(|error| refused(&name, &error))?;
        self.leaves.insert(tile.clone(), id);
        if let Some(width) = wide {
            let bytes = wide::build_tile(tile, width).map_err(|reason| refused(&name, &reason))?;
            self.define_assembled(id, &name, bytes);
            return Ok(());
        }
        self.context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut builder = FunctionBuilder::new(&mut self.context.func, &mut self.functions);
        clif::build_tile(tile, &mut builder, self.target.fma);
        builder.seal_all_blocks();
        builder.finalize(self.target.leaves.frontend_config());
        self.define(id, &name, true)
    }

    /// Assembles a map once for all its uses, where that pays and there is wide code for it.
    fn map(&mut self, map: &Map) -> Result<(), CodegenError> {
        let Some(width) = self.target.wide.filter(|_| wide::map_pays(map)) else { return Ok(()) };
        let (span, _) = wide::Span::of(map);
        if self.maps.contains_key(&span) {
            return Ok(());
        }
        let Ok(bytes) = wide::build_map(&span, width) else {
            self.maps.insert(span, None);
            return Ok(());
        };
        let name = format!("map{}", self.maps.len());
        let id = self
            .module
            .declare_function(&name, Linkage::Local, &clif::map_signature())
            .map_err(|error| refused(&name, &error))?;
        self.maps.insert(span, Some(id));
        self.define_assembled(id, &name, bytes);
        Ok(())
    }

    /// Adds a function that is machine code already.
    fn define_assembled(&mut self, id: FuncId, name: &str, code: Vec<u8>) {
        if let Some(listing) = &mut self.listing {
            listing.machine.push((name.to_owned(), wide::listing(&code)));
        }
        let name = name.to_owned();
        self.defined.push(Defined { id, name, alignment: ALIGNMENT, code, relocations: Vec::new() });
    }

    fn define(&mut self, id: FuncId, name: &str, is_leaf: bool) -> Result<(), CodegenError> {
        if let Some(listing) = &mut self.listing {
            listing.clif.push((name.to_owned(), self.context.func.display().to_string()));
        }
        let isa = if is_leaf { &self.target.leaves } else { &self.target.loops };
        let code = self
            .context
            .compile(&**isa, &mut ControlPlane::default())
            .map_err(|error| refused(name, &format!("{:?}", error.inner)))?;
        let alignment = u64::from(code.buffer.alignment).max(ALIGNMENT);
        let bytes = code.code_buffer().to_vec();
        if let Some(listing) = &mut self.listing {
            listing.machine.push((name.to_owned(), code.vcode.clone().unwrap_or_default()));
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

    /// Puts all functions into memory and makes them executable.
    fn finish(&mut self) -> Result<(), CodegenError> {
        self.memory.reserve(self.defined.iter().map(Defined::bytes_at_most).sum());
        for Defined { id, name, alignment, code, relocations } in &self.defined {
            self.module
                .define_function_bytes(*id, *alignment, code, relocations)
                .map_err(|error| refused(name, &error))?;
        }
        self.module.finalize_definitions().map_err(|error| refused("module", &error))
    }
}
