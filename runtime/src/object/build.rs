//! Builds an object: its options, plans, and all of its files.

use crc32fast::Hasher;
use target_lexicon::{Architecture, Triple};
use windlass_compiler::codegen::CodegenError;
use windlass_compiler::codegen::object::{Object, ObjectPort, StateLayout, Training, check_platform};
use windlass_compiler::graph::{Graph, Stateful, with_states};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileError, plan_for};
use windlass_compiler::plan::{Features, Plan};
use windlass_compiler::shape::{Sizes, Symbol};
use windlass_compiler::target::{Target, VECTOR_BITS};

use super::ports::{ports, step_ports};
use super::weights::weights;
use super::{ObjectError, ObjectFiles, ObjectOptions, header, manifest, rust, state};
use crate::error::Error;
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::trainer::single_value;

pub(super) fn build<N: AnyNetwork>(model: &Model<N>, options: &ObjectOptions) -> Result<ObjectFiles, Error> {
    let graph = model.network().graph();
    let network = || graph.name().to_owned();
    let refused = |reason| Error::Object { network: network(), reason };
    let failed = |reason: CompileError| Error::Compile { network: network(), reason: Box::new(reason) };
    let name = name_of(graph, options).map_err(refused)?;
    let (triple, targets) = targets(options).map_err(refused)?;
    let mut compile = options.compile.clone();
    compile.plan.threads = options.threads.unwrap_or(1);
    let planned = |graph: &Graph, mode: Mode, suffix: &str| -> Result<Vec<Plan>, Error> {
        let plan = |target: &Target| {
            let plan = plan_for(graph, mode, &compile, target).map_err(failed)?;
            // Kernels of different widths have different names.
            Ok(Plan { name: format!("{name}_{}{suffix}", target.vectors.bits), ..plan })
        };
        targets.iter().map(plan).collect()
    };
    let stateful = options.streaming.then(|| with_states(graph)).transpose()?;
    let run = stateful.as_ref().map_or(graph, |stateful| &stateful.graph);
    let plans = planned(run, Mode::Inference, "")?;
    let (mut inputs, mut outputs) = ports(run);
    let mut states = Vec::new();
    if let Some(Stateful { states: named, .. }) = &stateful {
        let is_state = |port: &mut ObjectPort| named.iter().any(|(name, _)| port.name == *name);
        states = inputs.extract_if(.., is_state).collect();
        outputs.retain_mut(|port| !is_state(port));
        // A sequence that has ended has no more steps.
        inputs.iter_mut().for_each(|port| port.least = 0);
    }
    let mut object = Object {
        name: &name,
        plans: &plans,
        inputs: &inputs,
        outputs: &outputs,
        states: &states,
        id: identity(run, &plans),
        triple,
        embedded: None,
        training: None,
    };
    let fixed =
        options.sizes.as_ref().map(|sizes| Fixed::new(&object, sizes)).transpose().map_err(refused)?;
    let Some(trainer) = &options.training else {
        let weights = weights(&object, model.parameters(), graph.name())?;
        object.embedded = options.embed.then_some(&weights);
        let files = files(&object, graph, &weights, fixed.as_ref())?;
        return Ok(ObjectFiles { weights: (!options.embed).then(|| weights.clone()), ..files });
    };
    let step = state::checked_step(model.network(), trainer)?;
    let step_plans = planned(&step.graph, Mode::Training, "_step")?;
    let (step_inputs, step_outputs) = step_ports(&step, trainer);
    let first = state::initial(model, trainer, &step)?;
    object.training = Some(Training {
        plans: &step_plans,
        inputs: &step_inputs,
        outputs: &step_outputs,
        layout: StateLayout::of(&step.graph),
        id: state::identity(&step.graph),
        betas: state::betas(&trainer.optimizer),
        least_batch: if single_value(&step.graph).is_some() { 2 } else { 1 },
        embedded: options.embed.then_some(&first),
    });
    let files = files(&object, graph, &first, fixed.as_ref())?;
    Ok(ObjectFiles { state: (!options.embed).then(|| first.clone()), ..files })
}

/// Sizes of runs, and what their memory takes.
pub(super) struct Fixed {
    pub(super) sizes: Sizes,
    pub(super) arena_bytes: usize,
    pub(super) stream_bytes: usize,
}

impl Fixed {
    fn new(object: &Object<'_>, sizes: &Sizes) -> Result<Self, ObjectError> {
        let symbols = object.symbols();
        let has = |size: &Symbol| sizes.get(*size).is_some_and(|value| value > 0);
        if let Some(&size) = symbols.iter().find(|size| !has(size)) {
            return Err(ObjectError::Sizes { size });
        }
        let counts = object.inputs.iter().chain(object.outputs).map(|port| port.ty.shape.elements(sizes));
        let most = isize::MAX as usize / 4;
        match (object.arena_bytes(sizes), object.stream_bytes(sizes.batch())) {
            (Some(arena_bytes), Some(stream_bytes))
                if counts.into_iter().chain([arena_bytes, stream_bytes]).all(|count| count <= most) =>
            {
                Ok(Fixed { sizes: sizes.clone(), arena_bytes, stream_bytes })
            }
            _ => Err(ObjectError::Sizes { size: symbols.last().copied().unwrap_or(Symbol::BATCH) }),
        }
    }
}

/// All files but the weights or the state, which are `values`.
fn files(
    object: &Object<'_>,
    graph: &Graph,
    values: &[u8],
    fixed: Option<&Fixed>,
) -> Result<ObjectFiles, Error> {
    let failed = |reason: CodegenError| Error::Compile {
        network: graph.name().to_owned(),
        reason: Box::new(CompileError::from(reason)),
    };
    let bytes = object.emit().map_err(failed)?;
    Ok(ObjectFiles {
        name: object.name.to_owned(),
        header: header::text(object, fixed),
        rust: rust::text(object, fixed),
        manifest: manifest::text(object, graph, &bytes, values),
        object: bytes,
        weights: None,
        state: None,
    })
}

/// Identifies the layout of the weights of a network's plans.
fn identity(graph: &Graph, plans: &[Plan]) -> u32 {
    let mut identity = Hasher::new();
    identity.update(graph.to_string().as_bytes());
    plans.iter().for_each(|plan| identity.update(plan.to_string().as_bytes()));
    identity.finalize()
}

fn name_of(graph: &Graph, options: &ObjectOptions) -> Result<String, ObjectError> {
    let is_identifier = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(name) = &options.name {
        return match is_identifier(name) {
            true => Ok(name.clone()),
            false => Err(ObjectError::Name { name: name.clone() }),
        };
    }
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }
    };
    let name: String = graph.name().chars().map(plain).collect();
    match is_identifier(&name) {
        true => Ok(name),
        false => Err(ObjectError::Name { name: graph.name().to_owned() }),
    }
}

/// The platform, and a target for each vector width, narrowest first.
pub(super) fn targets(options: &ObjectOptions) -> Result<(Triple, Vec<Target>), ObjectError> {
    let triple = match &options.platform {
        None => Triple::host(),
        Some(text) => text.parse().map_err(|reason: target_lexicon::ParseError| ObjectError::Platform {
            platform: text.clone(),
            reason: reason.to_string(),
        })?,
    };
    let platform = triple.to_string();
    check_platform(&triple).map_err(|error| ObjectError::Platform {
        platform: platform.clone(),
        reason: match error {
            CodegenError::Target { reason } => reason,
            other => other.to_string(),
        },
    })?;
    let known = match triple.architecture {
        Architecture::X86_64 => VECTOR_BITS.to_vec(),
        _ => vec![128],
    };
    let mut widths = if options.vector_bits.is_empty() { known.clone() } else { options.vector_bits.clone() };
    widths.sort_unstable();
    let mut targets = Vec::new();
    for (index, &bits) in widths.iter().enumerate() {
        if !known.contains(&bits) || widths[..index].contains(&bits) {
            return Err(ObjectError::VectorWidth { platform, bits, known });
        }
        targets.push(match (triple.architecture, bits) {
            (Architecture::Aarch64(_), _) => Target::aarch64(),
            (_, 128) => Target { fma: false, features: Features::Baseline, ..Target::x86_64(128) },
            _ => Target::x86_64(bits),
        });
    }
    Ok((triple, targets))
}
