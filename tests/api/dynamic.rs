//! Networks built at run time behave like declared ones, with the same bits, and report invalid input with errors.

use crate::support::numbers::{Outcome, all_bits, bits, noise};
use crate::support::pair::{Pair, PairInputs};
use crate::support::{Images, Points, images, labels, serial};
use ndarray::{Array2, ArrayD};
use tempfile::TempDir;
use windlass::checkpoint::Metadata;
use windlass::{
    AnyNetwork, Builder, CheckpointError, Dynamic, DynamicInputs, Error, Graph, Input, InputError, Layer,
    LoadOptions, Loss, Model, Network, NetworkProblem, Optimizer, Options, Parameters, Predictor, Schedule,
    Shape, Stage, Target, Trainer, TrainerOptions, Tuning, Window, tuning,
};

/// The built counterpart of [`Images`].
fn built() -> Result<Graph, Error> {
    let layers = [
        ("c1", Layer::conv(4, Window::square(3, 1, 1))),
        ("n1", Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }),
        ("relu1", Layer::Relu),
        ("max_pool2d1", Layer::max_pool(Window::square(2, 2, 0))),
        ("c2", Layer::conv(3, Window::square(3, 1, 0))),
        ("relu2", Layer::Relu),
        ("flatten1", Layer::Flatten),
        ("dropout1", Layer::Dropout { rate: 0.25 }),
        ("f3", Layer::linear(3)),
    ];
    let mut builder = Builder::new("Images");
    let mut x = builder.input("image", &[2, 6, 6])?;
    for (label, layer) in layers {
        x = builder.layer(label, &layer, x)?;
    }
    builder.output("output", x)?;
    Ok(builder.finish()?)
}

fn dynamic_images() -> Result<Dynamic, Error> {
    Dynamic::new(built()?)
}

fn pair() -> Result<Dynamic, Error> {
    Dynamic::new(Pair::graph().clone())
}

/// A graph of these lines.
fn graph(lines: &[&str]) -> Result<Graph, windlass::GraphError> {
    format!("graph net {{\n{}\n}}", lines.join("\n")).parse()
}

/// The problem of a graph as a network.
fn problem(lines: &[&str]) -> NetworkProblem {
    match Dynamic::new(graph(lines).unwrap_or_else(|error| panic!("{lines:?}: {error}"))) {
        Err(Error::Network { network, problem }) => {
            assert_eq!(network, "net");
            problem
        }
        other => panic!("{lines:?}: {other:?}"),
    }
}

#[test]
fn built_and_declared_networks_predict_the_same_bits() -> Outcome {
    assert_eq!(&built()?, Images::graph());
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        let declared = Model::<Images>::with_options(7, &options)?;
        let model = Model::of(dynamic_images()?, 7, &options)?;
        assert_eq!(model.parameters(), declared.parameters());
        for batch in [1, 5, 33] {
            let images = images(batch, batch as u32);
            let expected = declared.forward(&images)?;
            let scores = model.forward(&images)?.single()?;
            assert_eq!((scores.shape(), bits(&scores)), (expected.shape(), bits(&expected)));
            let mut written = vec![0.0; 3 * batch];
            model.forward_into(&images, &mut [&mut written])?;
            assert_eq!(expected.as_slice(), Some(&written[..]));
            // A slice holds as many samples as fit, as with declared networks.
            let whole = images.as_slice().expect("contiguous");
            assert_eq!(model.forward([("image", whole)])?.get("output")?, &expected);
        }
        let images = images(4, 9);
        let expected = declared.forward(&images)?;
        assert_eq!(model.memory(4), declared.memory(4));
        let predictor = model.into_predictor()?;
        assert_eq!(predictor.forward(&images)?.single()?, expected);
        assert_eq!(predictor.memory(4), declared.into_predictor()?.memory(4));
    }
    Ok(())
}

#[test]
fn built_and_declared_networks_train_to_the_same_bits() -> Outcome {
    let options = TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(Schedule::constant(0.01)?)
        .clip_norm(1.0)
        .frozen(["c1"])
        .seed(5);
    let mut declared = Trainer::new(Model::<Images>::with_options(3, &serial())?, options.clone())?;
    let mut trainer = Trainer::new(Model::of(dynamic_images()?, 3, &serial())?, options)?;
    assert_eq!(trainer.graph(), declared.graph());
    assert_eq!(trainer.memory(6), declared.memory(6));
    for step in 0..5 {
        let (images, labels) = (images(6, step), labels(6));
        assert_eq!(trainer.step(&images, &labels)?, declared.step(&images, &labels)?);
        assert_eq!(trainer.outputs(), declared.outputs());
    }
    assert_eq!(trainer.steps(), 5);
    assert_eq!(trainer.model().parameters(), declared.model().parameters());
    assert_eq!(trainer.output("output"), declared.output("output"));
    Ok(())
}

#[test]
fn text_and_json_make_networks() -> Outcome {
    let expected = Model::<Images>::new(1)?.forward(&images(2, 1))?;
    let text = built()?.to_string();
    let json = serde_json::to_string(&built()?)?;
    for graph in [text.parse::<Graph>()?, serde_json::from_str(&json)?] {
        let network = Dynamic::new(graph)?;
        assert_eq!(network.name(), "Images");
        assert_eq!(network.inputs().collect::<Vec<_>>(), [("image", &Shape::batched(&[2, 6, 6]))]);
        assert_eq!(network.outputs().collect::<Vec<_>>(), [("output", &Shape::batched(&[3]))]);
        assert_eq!(network.model(1)?.forward(&images(2, 1))?.single()?, expected);
        assert_eq!(network.summary().to_string(), Images::summary().to_string());
    }
    // An invalid graph is detected when it is read.
    let broken = text.replace("f32[N, 2, 6, 6]", "f32[N, 2, 2, 2]");
    assert!(broken.parse::<Graph>().is_err());
    let broken = json.replace("f32[N, 2, 6, 6]", "f32[N, 2, 2, 2]");
    assert!(serde_json::from_str::<Graph>(&broken).is_err());
    Ok(())
}

#[test]
fn several_inputs_and_outputs_go_by_their_names() -> Outcome {
    let (left, right) = (noise(4, 1), noise(6, 2));
    let expected = Model::<Pair>::new(2)?.forward(PairInputs::new(&left, &right))?;
    let model = pair()?.model(2)?;
    let collected: DynamicInputs =
        [("right", &right), ("left", &left)].into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let left_array = Array2::from_shape_vec((2, 2), left.clone())?;
    let results = [
        model.forward([("left", &left), ("right", &right)])?,
        model.forward([("right", &right), ("left", &left)])?,
        model.forward([("right", Input::from(&right)), ("left", Input::from(&left_array))])?,
        model.forward(collected)?,
    ];
    for outputs in results {
        assert_eq!(outputs.get("sum")?, &expected.sum);
        assert_eq!(outputs.get("scores")?, &expected.scores);
        assert_eq!(outputs.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["sum", "scores"]);
        assert_eq!(outputs.clone(), outputs);
        let error = outputs.get("score").unwrap_err().to_string();
        assert_eq!(error, "`Pair` has no output `score`; its outputs are `sum`, `scores`");
        let error = outputs.clone().single().unwrap_err().to_string();
        assert_eq!(error, "`Pair` has several outputs; get one by its name: `sum`, `scores`");
        assert_eq!(outputs.into_arrays(), [expected.sum.clone(), expected.scores.clone()]);
    }
    let (mut sum, mut scores) = ([0.0; 4], [0.0; 8]);
    model.forward_into([("right", &right), ("left", &left)], &mut [&mut sum, &mut scores])?;
    assert_eq!((expected.sum.as_slice(), expected.scores.as_slice()), (Some(&sum[..]), Some(&scores[..])));
    assert_eq!(
        format!("{:?}", model.network()),
        "Dynamic Pair(left: [2], right: [3]) -> (sum: [2], scores: [4])"
    );
    Ok(())
}

#[test]
fn more_inputs_than_are_held_in_place_are_taken_too() -> Outcome {
    let mut builder = Builder::new("Sum");
    let names: Vec<String> = (0..9).map(|index| format!("x{index}")).collect();
    let mut sum = builder.input(&names[0], &[2])?;
    builder.output("y0", sum)?;
    for (index, name) in names.iter().enumerate().skip(1) {
        let x = builder.input(name, &[2])?;
        sum = builder.add("sum", sum, x)?;
        builder.output(&format!("y{index}"), sum)?;
    }
    let model = Dynamic::new(builder.finish()?)?.model(0)?;
    let inputs: DynamicInputs = names.iter().rev().map(|name| (name.as_str(), &[1.0, 2.0])).collect();
    let outputs = model.forward(inputs)?;
    for (index, (name, array)) in outputs.iter().enumerate() {
        let count = index as f32 + 1.0;
        assert_eq!((name, array.as_slice()), (format!("y{index}").as_str(), Some(&[count, 2.0 * count][..])));
    }
    Ok(())
}

#[test]
fn inputs_that_do_not_fit_are_errors() -> Outcome {
    let (left, right) = (&[0.5; 4][..], &[0.5; 6][..]);
    let model = pair()?.model(0)?;
    let message = |inputs: DynamicInputs| model.forward(inputs).unwrap_err().to_string();
    assert_eq!(
        message([("left", left), ("wright", right)].into()),
        "`Pair` has no input `wright`; its inputs are `left`, `right`"
    );
    assert_eq!(
        message([("left", left)].into()),
        "`Pair` was not given its input `right`; it needs `left`, `right`"
    );
    assert!(matches!(
        model.forward(std::iter::empty::<(&str, &[f32])>().collect::<DynamicInputs>()),
        Err(Error::MissingInput { name, .. }) if name == "left"
    ));
    assert_eq!(
        message([("left", left), ("right", right), ("left", left)].into()),
        "`Pair` was given its input `left` twice; give it once"
    );
    assert_eq!(
        message(left.into()),
        "`Pair` has several inputs; give each with its name: [(\"left\", …), (\"right\", …)]"
    );
    assert_eq!(
        message([("left", left), ("right", &right[..3])].into()),
        "the inputs of `Pair` differ in their batch size: `left` has 2, `right` has 1"
    );
    assert!(matches!(
        model.forward([("left", &left[..0]), ("right", &right[..0])]),
        Err(Error::EmptyBatch { network }) if network == "Pair"
    ));
    let wrong = ArrayD::<f32>::zeros(vec![2, 4]);
    assert_eq!(
        message([("left", Input::from(left)), ("right", Input::from(&wrong))].into()),
        "the input `right` of `Pair` needs an array of shape [3], or a batch of these along a first axis, but receives \
         [2, 4]"
    );
    assert!(matches!(
        model.forward([("left", &left[..3]), ("right", right)]),
        Err(Error::Input { input, reason: InputError::Length { size: 2, got: 3, .. }, .. }) if input == "left"
    ));
    assert!(matches!(
        model.forward_into([("left", left), ("right", right)], &mut [&mut [0.0; 4]]),
        Err(Error::Binding { name, .. }) if name == "Pair"
    ));

    // Predictors and trainers report the same errors.
    let predictor = pair()?.model(0)?.into_predictor()?;
    assert!(matches!(predictor.forward([("left", left)]), Err(Error::MissingInput { .. })));
    assert!(matches!(predictor.profile([("x", left)], 1), Err(Error::UnknownInput { .. })));
    let training = TrainerOptions::default().loss(Loss::MeanSquaredError).output("sum");
    let mut trainer = Trainer::new(pair()?.model(0)?, training)?;
    assert!(matches!(trainer.step(left, left), Err(Error::UnnamedInput { .. })));
    assert!(matches!(trainer.find_non_finite([("left", left)], left), Err(Error::MissingInput { .. })));
    let inputs = [("left", left), ("right", right)];
    assert!(matches!(trainer.step(inputs, right), Err(Error::Target { .. })));
    assert!(matches!(trainer.step(inputs, &[0, 1]), Err(Error::Target { .. })));
    assert_eq!(trainer.steps(), 0);
    trainer.step(inputs, left)?;
    assert_eq!(trainer.steps(), 1);
    Ok(())
}

#[test]
fn graphs_that_are_no_networks_are_errors() -> Outcome {
    let x = "%0 = input {name = \"x\", type = \"f32[N, 2]\"}";
    let w = "%0 = parameter {name = \"w\", shape = \"[2]\", init = {constant = 0.0}}";
    assert_eq!(problem(&[]), NetworkProblem::NoInputs);
    assert_eq!(problem(&[x]), NetworkProblem::NoOutputs);
    let problem_of_type = problem(&[w, "output \"y\" = %0"]);
    let NetworkProblem::NoBatchOfFloats { what, name, ty } = &problem_of_type else {
        panic!("{problem_of_type:?}")
    };
    assert_eq!((*what, name.as_str(), ty.as_str()), ("output", "y", "f32[2]"));
    for ty in ["i32[3]", "i32[]", "f32[2]", "f32[]"] {
        let input = format!("%0 = input {{name = \"x\", type = \"{ty}\"}}");
        let problem = problem(&[&input]);
        let expected = format!("its input `x` is {ty}, but outputs must be batches of 32-bit floats");
        assert!(problem.to_string().starts_with(&expected), "{problem}");
    }
    let control = "%0 = input {name = \"rate\", role = \"control\", type = \"f32[]\"}";
    assert_eq!(problem(&[control]), NetworkProblem::ControlInput { name: "rate".to_owned() });
    assert_eq!(
        problem(&[
            x,
            "%1 = state {name = \"s\", shape = \"[2]\", init = {constant = 0.0}}",
            "output \"y\" = %0",
            "update \"s\" = %1"
        ]),
        NetworkProblem::Updates { name: "s".to_owned() }
    );

    // A training step is recognised, and the message says what to do.
    let trainer = Trainer::new(dynamic_images()?.model(0)?, TrainerOptions::default())?;
    let error = Dynamic::new(trainer.graph().clone()).unwrap_err().to_string();
    assert!(error.starts_with("the graph `Images` is not a network: it updates `"), "{error}");
    assert!(error.ends_with("pass only the network, because `Trainer` builds the step"), "{error}");
    Ok(())
}

#[test]
fn a_network_may_hand_on_what_it_is_given() -> Outcome {
    let x = "%0 = input {name = \"x\", type = \"f32[N, 2]\"}";
    let unused = "%1 = input {name = \"unused\", type = \"f32[N, 1]\"}";
    let network = Dynamic::new(graph(&[x, unused, "output \"y\" = %0", "output \"z\" = %0"])?)?;
    let outputs = network.model(0)?.forward([("unused", &[0.0][..]), ("x", &[1.0, 2.0])])?;
    for name in ["y", "z"] {
        assert_eq!(outputs.get(name)?.as_slice(), Some(&[1.0, 2.0][..]));
    }
    let error = Trainer::new(network.model(0)?, TrainerOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }), "{error}");
    Ok(())
}

#[test]
fn values_of_another_builder_are_errors() -> Outcome {
    let mut other = Builder::new("other");
    let x = other.input("x", &[2])?;
    let x = other.layer("r1", &Layer::Relu, x)?;
    let mut builder = Builder::new("net");
    assert!(builder.layer("f1", &Layer::linear(2), x).is_err());
    assert!(builder.add("a1", x, x).is_err());
    assert!(builder.concat("c1", &[]).is_err());
    assert!(builder.output("y", x).is_err());
    Ok(())
}

#[test]
fn checkpoints_are_exchanged_with_declared_networks() -> Outcome {
    let directory = TempDir::new()?;
    let path = |name: &str| directory.path().join(name);
    let images = images(3, 1);

    let declared = Model::<Images>::new(5)?;
    declared.save(path("declared"))?;
    let model = dynamic_images()?.load(path("declared"))?;
    assert_eq!(model.parameters(), declared.parameters());
    let predictor = Predictor::load_of(dynamic_images()?, path("declared"), &serial())?;
    let expected = Model::<Images>::load_with(path("declared"), &serial())?.forward(&images)?;
    assert_eq!(predictor.forward(&images)?.single()?, expected);
    assert_eq!(predictor.network().name(), "Images");

    model.save(path("dynamic"))?;
    assert_eq!(Metadata::read(&path("dynamic"))?.map(|metadata| metadata.network), Some("Images".to_owned()));
    assert_eq!(all_bits(&Model::<Images>::load(path("dynamic"))?), all_bits(&declared));

    // A file of another network, and one whose layers have other names.
    Model::<Points>::new(0)?.save(path("points"))?;
    let error = dynamic_images()?.load(path("points")).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Mismatch { .. })), "{error}");
    let renamed = built()?.to_string().replace("graph Images", "graph Other").replace("c1", "stem");
    let other = Dynamic::new(renamed.parse()?)?;
    let names = LoadOptions::new().rename("c1", "stem");
    let error = Parameters::load_of(&other, path("declared"), &names).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(CheckpointError::Network { expected, got, .. }) if (expected.as_str(), got.as_str()) == ("Other", "Images")),
        "{error}"
    );
    let parameters = Parameters::load_of(&other, path("declared"), &names.any_network())?;
    let other = Model::of_parameters(other, parameters, &Options::default())?;
    assert_eq!(other.forward(&images)?.single()?, declared.forward(&images)?);
    let parameters = Model::<Points>::new(0)?.parameters().clone();
    let error = Model::of_parameters(dynamic_images()?, parameters, &serial()).unwrap_err();
    assert!(matches!(error, Error::UnknownParameter { .. }), "{error}");
    Ok(())
}

#[test]
fn training_is_resumed_by_either_kind_of_network() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("training");
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).seed(2);
    let loading = LoadOptions::default();
    let mut whole = Trainer::new(Model::<Images>::with_options(1, &serial())?, options.clone())?;
    for step in 0..3 {
        whole.step(&images(4, step), &labels(4))?;
    }
    let mut first = Trainer::new(Model::of(dynamic_images()?, 1, &serial())?, options.clone())?;
    first.step(&images(4, 0), &labels(4))?;
    first.save(&path)?;
    let mut second = Trainer::<Images>::resume(&path, options.clone(), &serial())?;
    second.step(&images(4, 1), &labels(4))?;
    second.save(&path)?;
    let mut third = Trainer::resume_of(dynamic_images()?, &path, options, &serial(), &loading)?;
    third.step(&images(4, 2), &labels(4))?;
    assert_eq!(third.steps(), 3);
    assert_eq!(third.into_model().parameters(), whole.model().parameters());

    let plain = TrainerOptions::default();
    let error = Trainer::resume_of(dynamic_images()?, &path, plain, &serial(), &loading).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Optimizer { .. })), "{error}");
    Ok(())
}

#[test]
fn what_declared_networks_offer_is_there() -> Outcome {
    // Generic functions accept both kinds.
    fn named<N: AnyNetwork>(model: &Model<N>) -> String {
        format!("{} from {:?}", model.network().name(), model.network().input_ports().collect::<Vec<_>>())
    }
    let mut model = dynamic_images()?.model(0)?;
    assert_eq!(named(&model), named(&Model::<Images>::new(0)?));
    assert_eq!(named(&model), "Images from [(\"image\", [N, 2, 6, 6])]");
    assert!(format!("{model:?}").starts_with("Model<Images> { "), "{model:?}");
    assert_eq!(Model::of(Images, 3, &serial())?.parameters(), Model::<Images>::new(3)?.parameters());

    let profile = model.profile(&images(2, 0), 3)?;
    assert_eq!((profile.network.as_str(), profile.batch, profile.runs), ("Images", 2, 3));
    model.release_memory();
    model.set_parameter("f3.bias", &ArrayD::from_elem(vec![3], f32::INFINITY))?;
    let options = TrainerOptions::default().check_finite(true);
    let mut trainer = Trainer::new(model, options)?;
    let error = trainer.step([("image", &images(2, 0))], &labels(2)).unwrap_err();
    let Error::NonFiniteStep { network, origin: Some(origin), .. } = &error else { panic!("{error}") };
    assert_eq!((network.as_str(), origin.stage), ("Images", Stage::Given));
    assert!(trainer.find_non_finite(&images(2, 0), &labels(2))?.is_some());
    assert!(matches!(trainer.step(&images(2, 0), &[0, 3]), Err(Error::Label { label: 3, .. })));
    trainer.release_memory();
    assert!(format!("{trainer:?}").starts_with("Trainer<Images> { step: 0"), "{trainer:?}");

    let mut trainer = Trainer::new(dynamic_images()?.model(0)?, TrainerOptions::default())?;
    assert_eq!(trainer.profile(&images(2, 0), Target::from(&labels(2)), 2)?.batch, 2);
    assert_eq!((trainer.steps(), trainer.network().name()), (3, "Images"));

    let tuning = Tuning::default().cache(tuning::Cache::none());
    let network = dynamic_images()?;
    let tuned = tuning.for_model_of(&network, &serial())?;
    let tuned = tuning.for_trainer_of(&network, &tuned.options, &TrainerOptions::default())?;
    Model::of(network, 0, &tuned.options)?.forward(&images(2, 0))?;
    Ok(())
}

#[test]
fn clones_of_a_network_share_it_among_threads() -> Outcome {
    let model = dynamic_images()?.model(4)?;
    let expected = model.forward(&images(3, 0))?;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| model.forward(&images(3, 0)))).collect();
        for run in runs {
            assert_eq!(run.join().expect("a run does not panic").expect("the batch fits"), expected);
        }
    });
    assert!(std::ptr::eq(model.network().graph(), model.network().clone().graph()));
    assert_eq!(<Images as Network>::VALUE.name(), "Images");
    Ok(())
}
