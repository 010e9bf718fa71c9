//! Plans compiled into an object file, and what a program reports about leaves that are not assembled.

use cranelift_module::{Linkage, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use object::{Object, ObjectSymbol};

use super::super::isa::Isas;
use super::super::{FallbackLeaf, FallbackReason, Listing, Program, available_vector_bits};
use super::compile;
use crate::abi::{Phase, kernel_symbol};
use crate::graph::{Builder, Graph, Layer};
use crate::ops::window::Window;
use crate::pass::{Mode, PassOptions, optimize};
use crate::plan::{Plan, PlanOptions, plan};
use crate::target::Target;

fn network(name: &str, input: &[usize], layers: &[Layer]) -> Graph {
    let mut builder = Builder::new(name);
    let mut x = builder.input("x", input).unwrap();
    for (index, layer) in layers.iter().enumerate() {
        x = builder.layer(&format!("l{index}"), layer, x).unwrap();
    }
    builder.output("y", x).unwrap();
    builder.finish().unwrap()
}

fn planned(graph: &Graph, bits: usize) -> Plan {
    let graph = optimize(graph, Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
    let options = PlanOptions::default().vector_bits(bits);
    plan(&graph, &options, &Target::host(options.features, options.vector_bits).unwrap()).unwrap()
}

/// The kernels of a network are the symbols of an object file, which imports nothing.
#[test]
fn an_object_file_defines_every_kernel_and_imports_nothing() {
    let layers = [
        Layer::conv(6, Window::square(5, 1, 2)),
        Layer::Relu,
        Layer::max_pool(Window::square(2, 2, 0)),
        Layer::conv(16, Window::square(5, 1, 0)),
        Layer::Tanh,
        Layer::Flatten,
        Layer::linear(10),
        Layer::Softmax,
    ];
    let graph = network("LeNet-like", &[1, 16, 16], &layers);
    for bits in available_vector_bits() {
        let plan = planned(&graph, bits);
        assert!(!plan.prepack.is_empty() && plan.run.len() > 3, "{plan}");
        let isas = Isas::new(&plan.target, true).unwrap();
        let builder = ObjectBuilder::new(isas.loops.clone(), "network", default_libcall_names()).unwrap();
        let mut module = ObjectModule::new(builder);
        let compiled = compile(&mut module, &plan, (&isas, Linkage::Export), None).unwrap();
        assert_eq!((compiled.prepack.len(), compiled.run.len()), (plan.prepack.len(), plan.run.len()));
        compiled.functions.define(&mut module).unwrap();
        let bytes = module.finish().emit().unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let undefined: Vec<&str> = file
            .symbols()
            .filter(|symbol| symbol.is_undefined())
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        assert!(undefined.iter().all(|name| name.is_empty()), "{undefined:?} at {bits} bits");
        let mut exported: Vec<&str> = file
            .symbols()
            .filter(|symbol| symbol.is_global() && symbol.is_definition())
            .map(|symbol| symbol.name().unwrap())
            .collect();
        let mut expected: Vec<String> = [(Phase::Prepack, &plan.prepack), (Phase::Run, &plan.run)]
            .into_iter()
            .flat_map(|(phase, kernels)| (0..kernels.len()).map(move |index| (phase, index)))
            .map(|(phase, index)| kernel_symbol(graph.name(), phase, index))
            .collect();
        exported.sort_unstable();
        expected.sort_unstable();
        assert_eq!(exported, expected, "{bits} bits");
        for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
            let name = symbol.name().unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
        }
    }
}

/// The steps of a program, with the text of the compiled code.
fn compiled(graph: &Graph, bits: usize) -> (Program, Listing) {
    let mut listing = Listing::default();
    let program = Program::compile(planned(graph, bits), true, Some(&mut listing), false).unwrap();
    (program, listing)
}

/// A dense layer whose weight rows are too far apart for a 32-bit displacement falls back to Cranelift and reports it.
#[test]
fn a_fallback_leaf_is_listed_with_its_reason() {
    let graph = network("far", &[1 << 27], &[Layer::linear(8)]);
    for bits in available_vector_bits() {
        let (program, listing) = compiled(&graph, bits);
        let fallbacks: Vec<&FallbackLeaf> =
            program.run_steps().iter().flat_map(|step| &step.fallbacks).collect();
        let remarks = |texts: &[(String, String)]| {
            texts.iter().filter(|(_, text)| text.starts_with("; no AVX for tile ")).count()
        };
        // At 128 bits no leaf is assembled, so none falls back.
        assert_eq!(fallbacks.is_empty(), bits == 128, "{fallbacks:?} at {bits} bits");
        let fallen = program.run_steps().iter().filter(|step| !step.fallbacks.is_empty()).count();
        assert_eq!((remarks(&listing.clif), remarks(&listing.machine)), (fallen, fallen));
        for leaf in fallbacks {
            assert!(matches!(leaf.reason, FallbackReason::Distance { bytes } if bytes > 1 << 31), "{leaf}");
            assert!(leaf.to_string().starts_with("no AVX for tile "), "{leaf}");
        }
    }
}

#[test]
fn an_ordinary_network_has_no_fallback_leaves() {
    let graph = network("near", &[64], &[Layer::linear(32), Layer::Relu, Layer::linear(8)]);
    for bits in available_vector_bits() {
        let (program, listing) = compiled(&graph, bits);
        assert!(program.run_steps().iter().all(|step| step.fallbacks.is_empty()), "{bits} bits");
        assert!(listing.clif.iter().all(|(_, text)| !text.contains("no AVX")));
    }
}
