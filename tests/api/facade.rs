//! Every option in the book can be written with the names that this crate exports.

use std::collections::BTreeMap;

use windlass::{
    Accuracy, AutodiffError, Average, Builder, CompileError, CompileOptions, CompileTimes, Convolution,
    Costs, DataSetProblem, Error, Features, Graph, Im2col, KernelTime, Layer, Layouts, LoadOptions, Loss,
    Model, NamedTensors, Optimizer, Options, ParameterGroup, PassOptions, PlanError, PlanOptions, Program,
    Savings, Schedule, TensorMismatch, Trainer, TrainerOptions, network,
};

const OPTIONS: &str = include_str!("../../docs/book/src/options.md");

network! {
    network Small(image: [8, 6, 6]) -> [3] {
        c1: conv2d(8, kernel_size = 3, padding = 1); relu; flatten; f2: linear(3)
    }
}

#[test]
fn every_option_of_a_plan_is_set_and_in_the_readme() -> Result<(), Box<dyn std::error::Error>> {
    let plan = |accuracy, layouts, im2col, convolution, features| {
        PlanOptions::default()
            .threads(1)
            .batch(16)
            .vector_bits(None)
            .features(features)
            .layouts(layouts)
            .im2col(im2col)
            .convolution(convolution)
            .savings(Savings::default().fused_pools(features == Features::Native))
            .accuracy(accuracy)
            .costs(Costs::default())
            .tuned(BTreeMap::from([("a convolution".to_owned(), Convolution::Direct)]))
            .verify_code(true)
            .verify_races(true)
    };
    let passes = PassOptions::default().verify(true);
    let mut expected = None;
    for plan in [
        plan(
            Accuracy::Default,
            Layouts::ByChannels,
            Im2col::Tiled { panel_bytes: 1 << 16 },
            Convolution::ByCost,
            Features::Native,
        ),
        plan(
            Accuracy::Strict,
            Layouts::ChannelsFirst,
            Im2col::Whole,
            Convolution::Im2col,
            Features::Baseline,
        ),
        plan(
            Accuracy::Default,
            Layouts::ByChannels,
            Im2col::Whole,
            Convolution::Winograd(4),
            Features::Native,
        ),
        plan(Accuracy::Strict, Layouts::ByChannels, Im2col::Whole, Convolution::Direct, Features::Native),
    ] {
        let options = Options::default().compile(CompileOptions::default().passes(passes).plan(plan));
        let model: Model<Small> = Model::with_options(1, &options)?;
        let scores = model.forward(&[0.5; 2 * 8 * 36])?;
        let expected = expected.get_or_insert_with(|| scores.clone());
        assert!(scores.iter().zip(&*expected).all(|(a, b)| (a - b).abs() < 1e-4), "{scores} {expected}");
    }
    let fields = serde_json::to_value(PlanOptions::default())?;
    for field in fields.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let names = [format!("`{field}("), format!("`compile.plan.{field}`")];
        assert!(names.iter().any(|name| OPTIONS.contains(name)), "{field}");
    }
    assert!(OPTIONS.contains("`passes(…)`"));
    for value in [
        "ByChannels",
        "ChannelsFirst",
        "ByCost",
        "Direct",
        "Im2col",
        "Strict",
        "Whole",
        "Tiled",
        "Native",
        "Baseline",
    ] {
        assert!(OPTIONS.contains(value), "{value}");
    }
    Ok(())
}

#[test]
fn the_options_of_a_plan_are_set_in_one_call() {
    let options = Options::default().threads(3).batch(16).accuracy(Accuracy::Strict).vector_bits(128);
    let options = options.convolution(Convolution::Direct).features(Features::Baseline);
    let options = options.layouts(Layouts::ChannelsFirst).im2col(Im2col::Whole).savings(Savings::NONE);
    let options = options.costs(Costs::default().load(9)).passes(PassOptions::NONE);
    let plan = PlanOptions::default()
        .threads(3)
        .batch(16)
        .accuracy(Accuracy::Strict)
        .vector_bits(128)
        .convolution(Convolution::Direct)
        .features(Features::Baseline)
        .layouts(Layouts::ChannelsFirst)
        .im2col(Im2col::Whole)
        .savings(Savings::NONE)
        .costs(Costs::default().load(9));
    assert_eq!(options.compile, CompileOptions::default().passes(PassOptions::NONE).plan(plan));
    assert_eq!(options.batch(None).vector_bits(None).compile.plan.batch, None);
}

#[test]
fn options_of_training_and_loading_are_set() -> Result<(), Error> {
    let options = TrainerOptions::default()
        .loss(Loss::CrossEntropy)
        .losses(Vec::new())
        .optimizer(Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.01 })
        .schedule(Schedule::constant(0.01)?)
        .groups([ParameterGroup::new("*.bias").rate(2.0).weight_decay(0.0)])
        .average(Average::Exponential { decay: 0.99 })
        .clip_value(0.5)
        .clip_norm(1.0)
        .frozen(["c1"])
        .carry_states(false)
        .recompute(None)
        .accumulate(None)
        .seed(1)
        .check_finite(true);
    let model: Model<Small> = Model::with_options(1, &Options::default().threads(1))?;
    let times: CompileTimes = model.compile_times();
    assert!(times.codegen > std::time::Duration::ZERO);
    let program: &Program = model.program();
    assert!(!program.run_steps().is_empty());
    let kernels: Vec<KernelTime> = model.profile(&[0.5; 8 * 36], 1)?.kernels;
    assert_eq!(kernels.len(), program.run_steps().len());
    let tensors: NamedTensors = model.parameters().to_named();
    assert_eq!(tensors.len(), 4);
    Trainer::new(model, options)?.step(&[0.5; 2 * 8 * 36], &[0, 1])?;
    assert_eq!(LoadOptions::new().rename("features.0", "c1").renamed("features.0.bias"), "c1.bias");
    Ok(())
}

#[test]
fn errors_are_told_apart() -> Result<(), Box<dyn std::error::Error>> {
    let frozen = TrainerOptions::default().frozen(["x"]);
    let error = Trainer::new(Small::model(1)?, frozen).unwrap_err();
    assert!(
        matches!(error, Error::Autodiff { reason, .. } if matches!(*reason, AutodiffError::UnknownFrozen { .. }))
    );
    let error = Model::<Small>::with_options(1, &Options::default().threads(0)).unwrap_err();
    assert!(
        matches!(error, Error::Compile { reason, .. } if matches!(*reason, CompileError::Plan(PlanError::Setting { .. })))
    );
    let error = windlass::data::ImageDataset::new(vec![], vec![], [1, 1, 1], vec![]).unwrap_err();
    assert!(matches!(error, Error::DataSet { problem: DataSetProblem::Empty, .. }));
    let mismatch = TensorMismatch::NothingToRename { name: "features.0".to_owned() };
    assert!(mismatch.to_string().contains("`features.0`"));

    let mut builder = Builder::new("net");
    let x = builder.input("x", &[4])?;
    let y = builder.layer("f1", &Layer::linear(2), x)?;
    builder.output("y", y)?;
    let graph: Graph = builder.finish()?;
    assert_eq!(windlass::initialize(&graph, 1)?.len(), 2);
    Ok(())
}
