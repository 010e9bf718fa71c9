//! Every option in the README can be written with the names that this crate exports.

use std::collections::{BTreeMap, BTreeSet};

use windlass::{
    Accuracy, AutodiffError, Average, Builder, CompileError, CompileOptions, CompileTimes, Convolution,
    Costs, DataSetProblem, Error, Features, Graph, Im2col, KernelTime, Layer, Layouts, LoadOptions, Loss,
    Model, NamedTensors, Optimizer, Options, ParameterGroup, PassOptions, PlanError, PlanOptions, Program,
    Savings, Schedule, TensorMismatch, Trainer, TrainerOptions, network,
};

const README: &str = include_str!("../../README.md");

network! {
    network Small(image: [8, 6, 6]) -> [3] {
        c1: conv2d(8, kernel_size = 3, padding = 1); relu; flatten; f2: linear(3)
    }
}

#[test]
fn every_option_of_a_plan_is_set_and_in_the_readme() -> Result<(), Error> {
    // All fields are written out: a new field must be added here, and below.
    let plan = |accuracy, layouts, im2col, convolution, features| PlanOptions {
        threads: 1,
        batch: Some(16),
        vector_bits: None,
        features,
        layouts,
        im2col,
        convolution,
        savings: Savings { fused_pools: features == Features::Native, ..Savings::default() },
        accuracy,
        costs: Costs::default(),
        tuned: BTreeMap::from([("a convolution".to_owned(), Convolution::Direct)]),
        verify_code: true,
        verify_races: true,
    };
    let passes = PassOptions { verify: true, ..PassOptions::default() };
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
        let options = Options { compile: CompileOptions { passes, plan } };
        let model: Model<Small> = Model::with_options(1, &options)?;
        let scores = model.forward(&[0.5; 2 * 8 * 36])?;
        let expected = expected.get_or_insert_with(|| scores.clone());
        assert!(scores.iter().zip(&*expected).all(|(a, b)| (a - b).abs() < 1e-4), "{scores} {expected}");
    }
    for field in [
        "threads",
        "batch",
        "vector_bits",
        "features",
        "layouts",
        "im2col",
        "savings",
        "convolution",
        "accuracy",
        "costs",
        "tuned",
        "verify_code",
        "verify_races",
    ] {
        assert!(README.contains(&format!("`compile.plan.{field}`")), "{field}");
    }
    assert!(README.contains("`compile.passes`"));
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
        assert!(README.contains(value), "{value}");
    }
    Ok(())
}

#[test]
fn options_of_training_and_loading_are_set() -> Result<(), Error> {
    let options = TrainerOptions {
        loss: Loss::CrossEntropy,
        losses: Vec::new(),
        optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.01 },
        schedule: Some(Schedule::constant(0.01)?),
        groups: vec![ParameterGroup::new("*.bias").rate(2.0).weight_decay(0.0)],
        average: Some(Average::Exponential { decay: 0.99 }),
        clip_value: Some(0.5),
        clip_norm: Some(1.0),
        frozen: BTreeSet::from(["c1".to_owned()]),
        output: None,
        carry_states: false,
        recompute: None,
        accumulate: None,
        seed: 1,
        check_finite: true,
    };
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
    let frozen = TrainerOptions { frozen: BTreeSet::from(["x".to_owned()]), ..TrainerOptions::default() };
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
