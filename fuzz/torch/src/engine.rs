//! The engines: the interpreter in double precision, and compiled programs. Both return their results by name.

use std::collections::BTreeMap;

use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, Data, run as interpret};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Convolution, SlotKind};
use windlass_compiler::shape::DType;
use windlass_runtime::executor::{Binding, Executor};

/// The contents of every output, and of every updated value, after a run.
pub type Results = BTreeMap<String, Vec<f64>>;

/// An engine for one graph.
#[derive(Debug)]
pub enum Engine<'g> {
    /// The interpreter, in `f64`.
    Interpreter(&'g Graph),
    /// A compiled program.
    Compiled(Box<Executor>),
}

impl<'g> Engine<'g> {
    /// Compiles a graph.
    ///
    /// # Errors
    /// In words, why it cannot be compiled.
    pub fn compiled(graph: &'g Graph, mode: Mode, options: &CompileOptions) -> Result<Self, String> {
        let (program, _) = compile(graph, mode, options, &Dump::none()).map_err(|error| error.to_string())?;
        // The networks are so small that otherwise no step would run on several threads.
        let executor = Executor::new(program).map_err(|error| error.to_string())?.parallelize_every_step();
        Ok(Engine::Compiled(Box::new(executor)))
    }

    /// Whether some convolution uses Winograd's algorithm.
    pub fn uses_winograd(&self) -> bool {
        let Engine::Compiled(executor) = self else { return false };
        let choices = &executor.program().plan().choices.0;
        choices.iter().flat_map(|choice| &choice.candidates).any(|candidate| {
            candidate.verdict.is_taken() && matches!(candidate.algorithm, Convolution::Winograd(_))
        })
    }

    /// Runs once. `version` identifies the values of the parameters.
    ///
    /// # Errors
    /// In words, why it cannot run.
    pub fn run(&self, batch: usize, sources: &Bindings<f64>, version: u64) -> Result<Results, String> {
        match self {
            Engine::Interpreter(graph) => {
                let outcome = interpret(graph, batch, sources).map_err(|error| error.to_string())?;
                let results = outcome.outputs.into_iter().chain(outcome.updates);
                Ok(results.map(|(name, array)| (name, array.real().to_vec())).collect())
            }
            Engine::Compiled(executor) => run(executor, batch, sources, version),
        }
    }
}

fn run(executor: &Executor, batch: usize, sources: &Bindings<f64>, version: u64) -> Result<Results, String> {
    let slots = executor.slots();
    let mut values: Vec<(Vec<f32>, &[i32])> = Vec::new();
    for slot in slots {
        let source: Option<&Array<f64>> = sources.get(&slot.name);
        values.push(match (slot.kind, source.map(|array| &array.data)) {
            (SlotKind::Output, _) => (vec![f32::NAN; slot.ty.shape.elements(batch)], &[]),
            (_, Some(Data::Real(reals))) => (reals.iter().map(|&real| real as f32).collect(), &[]),
            (_, Some(Data::Int(integers))) => (Vec::new(), integers),
            (_, None) => return Err(format!("no numbers for `{}`", slot.name)),
        });
    }
    let mut bindings: Vec<Binding<'_>> = Vec::with_capacity(slots.len());
    for (slot, (floats, integers)) in slots.iter().zip(&mut values) {
        bindings.push(match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(integers),
            (SlotKind::Input, DType::F32) => Binding::Floats(floats),
            (SlotKind::Output | SlotKind::Parameter, _) => Binding::Written(floats),
        });
    }
    executor.run(&mut bindings, batch, version).map_err(|error| error.to_string())?;
    drop(bindings);
    let written = slots.iter().zip(values).filter(|(slot, _)| slot.kind != SlotKind::Input);
    Ok(written
        .map(|(slot, (floats, _))| (slot.name.clone(), floats.into_iter().map(f64::from).collect()))
        .collect())
}
