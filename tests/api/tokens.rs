//! Inputs of indices: embeddings, losses for each step, and what is refused.

use ndarray::{Array1, Array2, Array3, ArrayD, arr0, array, s};
use windlass::tuning::Cache;
use windlass::{
    Builder, DType, Dynamic, Error, Feed, IndexInput, InputError, Layer, Loss, Model, Network, Optimizer,
    Options, OutsideVocabulary, Schedule, Sizes, Target, Trainer, TrainerOptions, Tuning, network,
};
use windlass_compiler::interp::{Array, Bindings, run};

use crate::support::numbers::{Outcome, all_bits, bits, noise};

const WORDS: usize = 11;

/// A network that scores the next token at each step, of any length, and the same with 1, 2, 7 and 64 steps.
macro_rules! language_models {
    ($($name:ident of $steps:tt),*) => {$(
        network! {
            network $name(tokens: [$steps] of index) -> [$steps, 11] {
                words: embedding(11, 20);
                f1: linear(17); tanh;
                f2: linear(11)
            }
        }
    )*};
}

language_models!(Words of T, Words1 of 1, Words2 of 2, Words7 of 7, Words64 of 64);

network! {
    /// One token, and one number, for each sample.
    network One(token: [] of index, weight: [1]) -> [3] {
        from(token); embedding(5, 4);
        let row = it;
        from(weight); linear(4); add(row);
        linear(3)
    }

    /// Two texts of different lengths, which share an embedding.
    network Pair(question: [T] of index, answer: [2, 3] of index) -> (score: [1], steps: [T, 6]) {
        from(question); words: embedding(7, 6); steps = it;
        from(answer); share(words); mean((0, 1)); linear(1); score = it;
    }
}

fn tokens(batch: usize, steps: usize) -> Array2<i32> {
    Array2::from_shape_fn((batch, steps), |(n, t)| ((5 * n + 7 * t + t * t) % WORDS) as i32)
}

/// A network's scores for tokens, and its parameters after some training steps.
fn results<N>(tokens: &Array2<i32>, options: &Options) -> (ArrayD<f32>, Vec<(String, Vec<u32>)>)
where
    N: for<'a> Network<Inputs<'a> = IndexInput<'a>, Outputs = ArrayD<f32>>,
{
    let model = Model::<N>::with_options(3, options).unwrap();
    let scores = model.forward(tokens).unwrap();
    let mut trainer = Trainer::new(model, TrainerOptions::default()).unwrap();
    for _ in 0..3 {
        trainer.step(tokens, &tokens.mapv(|token| (token + 1) % 11)).unwrap();
    }
    (scores, all_bits(trainer.model()))
}

#[test]
fn an_open_length_gives_the_bits_of_a_fixed_one() {
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        for (batch, steps) in [(1, 1), (3, 2), (2, 7), (3, 64)] {
            let tokens = tokens(batch, steps);
            let open = results::<Words>(&tokens, &options);
            assert_eq!(open.0.shape(), [batch, steps, WORDS]);
            let fixed = match steps {
                1 => results::<Words1>(&tokens, &options),
                2 => results::<Words2>(&tokens, &options),
                7 => results::<Words7>(&tokens, &options),
                _ => results::<Words64>(&tokens, &options),
            };
            assert_eq!(bits(&open.0), bits(&fixed.0), "{batch} texts of {steps} tokens, {threads} threads");
            assert_eq!(open.1, fixed.1, "{batch} texts of {steps} tokens, {threads} threads");
        }
    }
}

#[test]
fn an_embedding_gives_the_rows_of_its_table() -> Outcome {
    assert_eq!(Words7::TOKENS_SHAPE, [7]);
    assert_eq!(One::TOKEN_SHAPE, [0; 0]);
    assert_eq!(Words::PARAMETERS[0], ("words.weight", &[11, 20][..]));
    let model = Pair::model(1)?;
    let table = model.parameter("words.weight").ok_or("the table")?.to_owned();
    let question = tokens(3, 5).mapv(|token| token % 7);
    let answer = Array3::from_shape_fn((3, 2, 3), |(n, i, j)| ((n + 2 * i + 3 * j) % 7) as i32);
    let outputs = model.forward(PairInputs::new(&question, &answer))?;
    assert_eq!(outputs.score.shape(), [3, 1]);
    for ((n, t), &token) in question.indexed_iter() {
        assert_eq!(outputs.steps.slice(s![n, t, ..]), table.slice(s![token, ..]));
    }
    Ok(())
}

/// Predictors, files and tuning work as for networks of numbers.
#[test]
fn models_of_tokens_are_saved_settled_and_tuned() -> Outcome {
    let (model, tokens) = (Words::model(5)?, tokens(3, 9));
    let scores = model.forward(&tokens)?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("words.safetensors");
    model.save(&path)?;
    assert_eq!(bits(&Words::load(&path)?.forward(&tokens)?), bits(&scores));
    let predictor = model.into_predictor()?;
    assert_eq!(bits(&predictor.forward(&tokens)?), bits(&scores));
    assert!(matches!(predictor.forward(&array![11]), Err(Error::Token(_))));
    let options = Tuning::default().cache(Cache::none()).for_model::<Words>(&Options::default())?.options;
    assert_eq!(bits(&Model::<Words>::load_with(&path, &options)?.forward(&tokens)?), bits(&scores));
    Ok(())
}

#[test]
fn one_index_for_each_sample() -> Outcome {
    let model = One::model(2)?;
    let (tokens, weights) = (Array1::from_vec(vec![4, 0, 2]), Array2::from_elem((3, 1), 0.5));
    let all = model.forward(OneInputs::new(&tokens, &weights))?;
    assert_eq!(all.shape(), [3, 3]);
    // As a slice, and one sample without a batch.
    assert_eq!(model.forward(OneInputs::new(&[4, 0, 2], &weights))?, all);
    let single = model.forward(OneInputs::new(&arr0(4), &[0.5]))?;
    assert_eq!(single.slice(s![0, ..]), all.slice(s![0, ..]));
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    assert!(trainer.step(OneInputs::new(&tokens, &weights), &[0, 1, 2])?.loss.is_finite());
    Ok(())
}

/// A step with plain SGD against the interpreter, for arrays that are contiguous and not, and labels of every step.
#[test]
fn steps_with_a_loss_for_each_token_agree_with_the_interpreter() -> Outcome {
    for (threads, batch, steps) in [(1, 1, 1), (1, 3, 5), (2, 4, 33)] {
        let losses =
            [Loss::CrossEntropy, Loss::CrossEntropyWith { label_smoothing: 0.1, weights: vec![0.5; WORDS] }];
        for loss in losses {
            let options = TrainerOptions::default().loss(loss).optimizer(Optimizer::sgd());
            let model = Words::model(4)?;
            let before = model.parameters().to_named();
            let model = Model::<Words>::with_parameters(
                model.parameters().clone(),
                &Options::default().threads(threads),
            )?;
            let mut trainer = Trainer::new(model, options)?;
            let whole = tokens(batch, steps + 1);
            let (inputs, labels) = (whole.slice(s![.., ..-1]), whole.slice(s![.., 1..]));
            let report = trainer.step(inputs, labels)?;

            let mut bindings = Bindings::<f64>::new();
            for (name, value) in before {
                let values = value.iter().map(|x| f64::from(*x)).collect();
                bindings.insert(name, Array::new(value.shape(), values));
            }
            let rate = report.learning_rate;
            bindings.insert("learning_rate".to_owned(), Array::scalar(f64::from(rate as f32)));
            for (name, array) in [("tokens", &inputs), ("labels", &labels)] {
                bindings.insert(name.to_owned(), Array::ints(array.shape(), array.iter().copied().collect()));
            }
            let sizes = Sizes::from(batch).with("T".parse()?, steps);
            let expected = run(trainer.graph(), sizes, &bindings)?;
            let loss = expected.outputs["loss"].real()[0];
            assert!((f64::from(report.loss) - loss).abs() < 1e-5 * loss, "{} is not {loss}", report.loss);
            for (name, update) in &expected.updates {
                let got = trainer.model().parameter(name).ok_or("an updated parameter")?;
                for (got, expected) in got.iter().zip(update.real()) {
                    assert!((f64::from(*got) - expected).abs() < 1e-5, "{name}: {got}, not {expected}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_language_model_learns_what_follows() -> Outcome {
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(Schedule::constant(0.03)?);
    let mut trainer = Trainer::new(Words::model(0)?, options)?;
    // Each token is followed by three times itself plus one.
    let texts = |steps| Array2::from_shape_fn((8, steps), |(n, _)| n as i32);
    let follow = |token: i32| (3 * token + 1) % 11;
    let mut loss = f32::NAN;
    for steps in (2..=9).cycle().take(120) {
        let mut inputs = texts(steps);
        for t in 1..steps {
            let next = inputs.column(t - 1).mapv(follow);
            inputs.column_mut(t).assign(&next);
        }
        loss = trainer.step(&inputs, &inputs.mapv(follow))?.loss;
    }
    assert!(loss < 0.05, "{loss}");
    let scores = trainer.model().forward(&array![5])?;
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(token, _)| token);
    assert_eq!(best, Some(follow(5) as usize));
    Ok(())
}

#[test]
fn tokens_outside_the_vocabulary_are_refused() -> Outcome {
    let model = Words::model(0)?;
    let mut tokens = tokens(5, 9);
    tokens[[3, 7]] = 900;
    let error = model.forward(&tokens).unwrap_err();
    assert_eq!(
        error.to_string(),
        "token 900 at sample 3, step 7 of input `tokens` is outside the vocabulary of 11, 0 to 10, of `Words`"
    );
    let Error::Token(OutsideVocabulary { place, token: 900, vocabulary: 11, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(place, &[3, 7]);
    tokens[[3, 7]] = -1;
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let before = all_bits(trainer.model());
    let error = trainer.step(&tokens, &tokens.mapv(i32::abs)).unwrap_err().to_string();
    assert!(error.starts_with("token -1 at sample 3, step 7 of input `tokens`"), "{error}");
    assert!(matches!(trainer.find_non_finite(&tokens, &tokens), Err(Error::Token(_))));
    assert_eq!((trainer.steps(), all_bits(trainer.model())), (0, before));

    let one = One::model(0)?;
    let error = one.forward(OneInputs::new(&[1, 5], &[0.0, 0.0])).unwrap_err().to_string();
    assert!(
        error.starts_with("token 5 at sample 1 of input `token` is outside the vocabulary of 5"),
        "{error}"
    );
    let pair = Pair::model(0)?;
    let mut answer = Array3::<i32>::zeros((1, 2, 3));
    answer[[0, 1, 2]] = 7;
    let error = pair.forward(PairInputs::new(&array![[0]], &answer)).unwrap_err().to_string();
    assert!(error.starts_with("token 7 at sample 0, index [1, 2] of input `answer`"), "{error}");
    // A single sample without a batch, and a slice of samples of a fixed size.
    let error = Words7::model(0)?.forward(&array![0, 1, 11, 0, 0, 0, 0]).unwrap_err().to_string();
    assert!(error.starts_with("token 11 at sample 0, step 2"), "{error}");
    let mut slice = [0; 21];
    slice[16] = 12;
    let error = Words7::model(0)?.forward(&slice).unwrap_err().to_string();
    assert!(error.starts_with("token 12 at sample 2, step 2"), "{error}");
    Ok(())
}

#[test]
fn tokens_of_the_wrong_rank_or_size_are_refused() -> Outcome {
    let told = |error: Error| error.to_string();
    let model = Words::model(0)?;
    assert_eq!(
        told(model.forward(&Array3::zeros((2, 3, 4))).unwrap_err()),
        "the input `tokens` of `Words` needs an array of shape [T], or a batch of these along a first axis, but \
         receives [2, 3, 4]"
    );
    assert_eq!(
        told(model.forward(&[1, 2, 3]).unwrap_err()),
        "the input `tokens` of `Words` is a slice, which does not determine T in samples of shape [T]; pass an array"
    );
    assert!(matches!(model.forward(&Array2::zeros((0, 3))), Err(Error::EmptyBatch { .. })));
    let fixed = Words7::model(0)?;
    assert!(told(fixed.forward(&Array2::zeros((2, 6))).unwrap_err()).contains("needs an array of shape [7]"));
    assert!(told(fixed.forward(&[0; 8]).unwrap_err()).contains("needs 7 numbers per sample of shape [7]"));
    // Labels of another shape.
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let tokens = tokens(2, 6);
    assert_eq!(
        told(trainer.step(&tokens, tokens.t()).unwrap_err()),
        "training `Words` needs labels of shape [2, 6], one per step but was given an array of shape [6, 2]"
    );
    assert_eq!(
        told(trainer.step(&tokens, &[0; 5]).unwrap_err()),
        "training `Words` needs 12 labels, one per step but was given 5 labels"
    );
    let mut labels = tokens.clone();
    labels[[1, 4]] = 11;
    assert_eq!(
        told(trainer.step(&tokens, &labels).unwrap_err()),
        "label 11 of sample 1, step 4 is outside the 11 classes of `Words`, 0 to 10"
    );
    // Labels of one sample need no batch, like inputs.
    let (text, labels) = (tokens.row(0), tokens.row(1));
    assert!(trainer.step(text, Target::from(labels))?.loss.is_finite());
    Ok(())
}

#[test]
fn built_networks_take_indices_by_name() -> Outcome {
    let mut builder = Builder::new("Words");
    let tokens_of = builder.input_of("tokens", DType::I32, ["T".parse::<windlass::Symbol>()?.into()])?;
    let x = builder.layer("words", &Layer::embedding(WORDS, 20), tokens_of)?;
    let x = builder.layer("f1", &Layer::linear(17), x)?;
    let x = builder.layer("", &Layer::Tanh, x)?;
    let x = builder.layer("f2", &Layer::linear(WORDS), x)?;
    builder.output("output", x)?;
    let built = Dynamic::new(builder.finish()?)?.model(3)?;
    let tokens = tokens(2, 5);
    let expected = Words::model(3)?.forward(&tokens)?;
    assert_eq!(built.forward(&tokens)?.single()?, expected);
    assert_eq!(built.forward([("tokens", &tokens)])?.single()?, expected);
    assert_eq!(built.forward([("tokens", Feed::from(tokens.view()))])?.single()?, expected);
    let error = built.forward(&Array2::<f32>::zeros((2, 5))).unwrap_err();
    assert!(matches!(error, Error::Input { reason: InputError::Kind { .. }, .. }));
    assert_eq!(
        error.to_string(),
        "the input `tokens` of `Words` takes indices, of type i32, but receives numbers"
    );
    Ok(())
}

#[test]
fn networks_of_numbers_take_no_indices() -> Outcome {
    let mut builder = Builder::new("Numbers");
    let x = builder.input("x", &[2])?;
    let y = builder.layer("f", &Layer::linear(3), x)?;
    builder.output("y", y)?;
    let model = Dynamic::new(builder.finish()?)?.model(0)?;
    let error = model.forward(&[1, 2]).unwrap_err().to_string();
    assert_eq!(error, "the input `x` of `Numbers` takes numbers, of type f32, but receives indices");

    let mut builder = Builder::new("Mixed");
    let (x, tokens) = (builder.input("x", &[2])?, builder.input_of("tokens", DType::I32, [3.into()])?);
    let told = |result: Result<_, windlass::GraphError>| {
        result.map(|_: windlass::ValueId| ()).unwrap_err().to_string()
    };
    assert_eq!(
        told(builder.layer("f", &Layer::linear(3), tokens)),
        "`linear` needs numbers but receives indices, [3] of index"
    );
    assert_eq!(
        told(builder.layer("f", &Layer::Relu, tokens)),
        "`relu` needs numbers but receives indices, [3] of index"
    );
    assert_eq!(
        told(builder.layer("e", &Layer::embedding(3, 4), x)),
        "`embedding` needs indices but receives numbers, [2]"
    );
    assert_eq!(
        told(builder.layer("e", &Layer::embedding(0, 4), tokens)),
        "`embedding` has `vocabulary` 0, which must be at least 1"
    );
    // Layers that only move elements take either.
    let part = builder.layer("", &Layer::Slice { start: 1, length: 2, axis: 0 }, tokens)?;
    let y = builder.layer("e", &Layer::embedding(4, 5), part)?;
    assert_eq!(builder.graph().ty(y).to_string(), "f32[N, 2, 5]");
    builder.output("y", y)?;
    let model = Dynamic::new(builder.finish()?)?.model(0)?;
    let x = noise(2, 1);
    let inputs = |token| [("x", Feed::from(&x)), ("tokens", Feed::from(vec![0, token, 3]))];
    assert_eq!(model.forward(inputs(3))?.single()?.shape(), [1, 2, 5]);
    assert!(matches!(model.forward(inputs(4)), Err(Error::Token(_))));
    Ok(())
}
