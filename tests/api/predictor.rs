//! Predictors give the same bits as the models they were made from, and hold each weight once.

use std::thread;

use tempfile::TempDir;
use windlass::{CheckpointError, Model, Network, Options, Predictor, network};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::plan::{Accuracy, Convolution, SlotKind};

network! {
    /// Several kinds of convolutions, with and without normalisation, and a dense layer.
    network Images(image: [3, 16, 16]) -> (features: [24], scores: [5]) {
        c1: conv2d(16, kernel_size = 3, padding = 1); n1: batch_norm; relu;
        c2: conv2d(24, kernel_size = 3, padding = 1, bias = false); n2: batch_norm; relu;
        d3: conv2d(24, kernel_size = 3, padding = 1, groups = 24); relu; max_pool2d(2);
        c4: conv2d(24, kernel_size = 1); relu;
        global_avg_pool2d; flatten; features = it;
        f5: linear(5); scores = it;
    }

    network Dense(point: [6]) -> [4] { f1: linear(32); tanh; f2: linear(4) }

    /// Nothing to prepack: two outputs do not fill a register tile, so their weight is read as declared.
    network Narrow(point: [400]) -> [2] { f1: linear(2) }

    /// A normalised dense layer: the folded weight is read, the declared one no longer.
    network Normalized(point: [400]) -> [2] { f1: linear(400); n1: batch_norm; relu; f2: linear(2) }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Pseudorandom numbers between −1 and 1.
fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index as f32 * 0.618_034 + 0.3).fract() - 0.5) * 2.0).collect()
}

/// A model whose statistics and biases would show a mistake.
fn model<N: Network>(options: &Options) -> Result<Model<N>, windlass::Error> {
    let mut model = Model::<N>::with_options(3, options)?;
    for name in model.parameters().names().to_vec() {
        let Some(values) = model.parameter(&name) else { continue };
        let mut values = values.to_owned();
        if values.ndim() == 1 {
            values.iter_mut().zip(noise(1000)).for_each(|(value, noise)| *value += 0.4 * noise);
            model.set_parameter(&name, &values)?;
        }
    }
    Ok(model)
}

/// All convolution algorithms at all vector widths.
fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for bits in available_vector_bits() {
        for (convolution, accuracy) in [
            (Convolution::ByCost, Accuracy::Default),
            (Convolution::Direct, Accuracy::Default),
            (Convolution::Winograd(2), Accuracy::Default),
            (Convolution::Winograd(4), Accuracy::Default),
            (Convolution::ByCost, Accuracy::Strict),
        ] {
            let mut options = Options::default().threads(1 + all.len() % 2);
            options.compile.plan.vector_bits = Some(bits);
            options.compile.plan.convolution = convolution;
            options.compile.plan.accuracy = accuracy;
            all.push(options);
        }
    }
    all
}

fn bits(values: &ndarray::ArrayD<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Bytes of parameters that runs of a model read as declared.
fn read_by_runs<N: Network>(model: &Model<N>) -> usize {
    let plan = model.program().plan();
    let slots = plan.slots_of(&plan.run).into_iter().map(|slot| &plan.slots[slot]);
    let stored = slots.filter(|slot| slot.kind == SlotKind::Parameter);
    stored.map(|slot| 4 * slot.ty.shape.item_elements()).sum()
}

#[test]
fn a_predictor_gives_the_bits_of_its_model() -> Outcome {
    for options in all_options() {
        let model = model::<Images>(&options)?;
        let predictor = self::model::<Images>(&options)?.into_predictor()?;
        for batch in [1, 7, 2] {
            let input = noise(batch * 3 * 16 * 16);
            let (expected, got) = (model.forward(&input)?, predictor.forward(&input)?);
            assert_eq!(bits(&got.scores), bits(&expected.scores), "batch {batch}, {options:?}");
            assert_eq!(bits(&got.features), bits(&expected.features), "batch {batch}, {options:?}");
            let (mut features, mut scores) = (vec![0.0; batch * 24], vec![0.0; batch * 5]);
            predictor.forward_into(&input, &mut [&mut features, &mut scores])?;
            assert_eq!(Some(&scores[..]), expected.scores.as_slice());
            assert_eq!(Some(&features[..]), expected.features.as_slice());
        }
        assert_eq!(predictor.options(), &options);
        assert_eq!(predictor.program().plan(), model.program().plan());
    }
    Ok(())
}

#[test]
fn a_predictor_holds_weights_of_convolutions_once() -> Outcome {
    for options in all_options() {
        let model = model::<Images>(&options)?;
        let said = model.memory(4);
        let read = read_by_runs(&model);
        let predictor = model.into_predictor()?;
        let held = predictor.memory(4);
        // The weights of c1 to c4, and the values folded into those of c1 and c2.
        let convolutions = 4 * (16 * 27 + 24 * 16 * 9 + 24 * 9 + 24 * 24);
        assert!(held.parameters + convolutions <= said.parameters, "{said}; {held}; {options:?}");
        // The dense weight may be held as declared; of the rest, at most small vectors.
        let dense = 4 * (5 * 24 + 5);
        assert!(held.parameters < dense + 4 * 64, "{held}; {options:?}");
        assert_eq!(held.parameters, read, "{options:?}");
        assert_eq!((held.prepacked, held.run()), (said.prepacked, said.run()));
        assert!(held.prepacking == 0 && said.prepacking > 0, "{said}; {held}");
        assert!(held.peak() + convolutions < said.peak());
    }
    Ok(())
}

#[test]
fn dense_weights_are_read_where_they_are() -> Outcome {
    let model = model::<Narrow>(&Options::default())?;
    let (input, said) = (noise(400 * 3), model.memory(3));
    let expected = model.forward(&input)?;
    assert_eq!((said.prepacked, said.prepacking), (0, 0));
    let predictor = model.into_predictor()?;
    assert_eq!(predictor.memory(3), said);
    assert_eq!(predictor.forward(&input)?, expected);

    let model = self::model::<Normalized>(&Options::default())?;
    let expected = model.forward(&input)?;
    let predictor = model.into_predictor()?;
    assert_eq!(predictor.memory(3).parameters, 4 * (2 * 400 + 2), "all of f2, and nothing of f1");
    assert_eq!(predictor.forward(&input)?, expected);
    Ok(())
}

#[test]
fn a_predictor_comes_from_a_file() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("images.safetensors");
    let options = Options::default().threads(1);
    let model = model::<Images>(&options)?;
    model.save(&path)?;
    let input = noise(2 * 3 * 16 * 16);
    let expected = model.forward(&input)?;
    for predictor in [Predictor::<Images>::load_with(&path, &options)?, model.into_predictor()?] {
        assert_eq!(bits(&predictor.forward(&input)?.scores), bits(&expected.scores));
    }
    assert_eq!(Predictor::<Images>::load(&path)?.forward(&input)?.scores.shape(), [2, 5]);
    let missing = Predictor::<Images>::load(directory.path().join("none")).err().ok_or("there is no file")?;
    assert!(missing.to_string().contains("none"), "{missing}");
    let other = Predictor::<Dense>::load(&path).err().ok_or("the file is of another network")?;
    assert!(matches!(other, windlass::Error::Checkpoint(CheckpointError::Mismatch { .. })), "{other}");
    Ok(())
}

#[test]
fn many_threads_share_a_predictor() -> Outcome {
    for threads in [1, 2] {
        let predictor = model::<Images>(&Options::default().threads(threads))?.into_predictor()?;
        let predictor = &predictor;
        thread::scope(|scope| {
            let runs: Vec<_> = (1..5)
                .map(|batch| {
                    scope.spawn(move || -> Result<(), windlass::Error> {
                        let input = noise(batch * 3 * 16 * 16);
                        let expected = predictor.forward(&input)?.scores;
                        for _ in 0..20 {
                            assert_eq!(predictor.forward(&input)?.scores, expected, "batch {batch}");
                        }
                        Ok(())
                    })
                })
                .collect();
            runs.into_iter().try_for_each(|run| run.join().expect("the run ends without a panic"))
        })?;
    }
    Ok(())
}

#[test]
fn a_predictor_says_what_is_wrong_with_its_input() -> Outcome {
    let predictor = model::<Dense>(&Options::default())?.into_predictor()?;
    let error = predictor.forward(&[0.5; 7]).err().ok_or("7 numbers are no whole number of items")?;
    assert!(matches!(error, windlass::Error::Input { .. }), "{error}");
    let error = predictor.forward_into(&[0.5; 6], &mut []).err().ok_or("no memory for the output")?;
    assert!(matches!(error, windlass::Error::Binding { .. }), "{error}");
    let profile = predictor.profile(&[0.5; 12], 3)?;
    assert_eq!((profile.batch, profile.runs), (2, 3));
    Ok(())
}

#[test]
fn parameters_of_another_network_make_no_predictor() -> Outcome {
    let mut images = model::<Images>(&Options::default())?;
    let mut narrow = model::<Narrow>(&Options::default())?;
    std::mem::swap(images.parameters_mut(), narrow.parameters_mut());
    let error = images.into_predictor().err().ok_or("there are no weights to prepack from")?;
    assert!(matches!(error, windlass::Error::Binding { .. }), "{error}");
    // A weight without prepacking that is missing is detected in the first run.
    let error = narrow.into_predictor()?.forward(&[0.5; 400]).err().ok_or("there are no weights to read")?;
    assert!(matches!(error, windlass::Error::Binding { .. }), "{error}");
    Ok(())
}
