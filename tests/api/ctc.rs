//! Training with the CTC loss, and reading what was learned.

use ndarray::{Array2, Array3, Axis, array, s};
use windlass::text::{greedy_labels, log_probabilities, prefix_beam_search};
use windlass::{
    Error, LabelSequences, Loss, Model, Optimizer, OutputLoss, Schedule, SequenceProblem, Sizes, Target,
    Trainer, TrainerOptions, network,
};

use crate::support::numbers::{Outcome, noise};

network! {
    /// Four classes, of which 0 is the blank.
    network Reader(frames: [T, 6]) -> [T, 4] {
        r: gru(16, bidirectional = true);
        f: linear(4)
    }

    network Both(frames: [T, 6]) -> (words: [T, 4], tone: [T, 3]) {
        r: gru(12); let body = it;
        f: linear(4); words = it;
        from(body); g: linear(3); tone = it;
    }

    network Vector(x: [6]) -> [4] { linear(4) }
}

fn options(loss: Loss) -> TrainerOptions {
    TrainerOptions::default()
        .loss(loss)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::constant(0.01).unwrap())
}

/// Words of up to three labels. Each label is two or three frames with a mark, at noisy places that nothing tells.
fn spoken(samples: usize, seed: u32) -> (Array3<f32>, Array2<i32>, Vec<i32>, Vec<i32>) {
    const STEPS: usize = 12;
    let mut random = fastrand::Rng::with_seed(seed.into());
    let mut frames = Array3::from_shape_vec((samples, STEPS, 6), noise(samples * STEPS * 6, seed)).unwrap();
    frames.mapv_inplace(|x| 0.3 * x);
    let mut labels = Array2::from_elem((samples, 3), -1);
    let (mut lengths, mut steps) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        let count = random.usize(1..=3);
        let mut at = random.usize(0..2);
        for place in 0..count {
            let label = random.i32(1..=3);
            labels[[sample, place]] = label;
            at += usize::from(place > 0);
            for _ in 0..random.usize(2..=3) {
                frames[[sample, at, label as usize]] += 2.0;
                at += 1;
            }
        }
        lengths.push(count as i32);
        steps.push(at as i32);
    }
    (frames, labels, lengths, steps)
}

#[test]
fn words_are_learned_without_their_places() -> Outcome {
    let mut trainer = Trainer::new(Reader::model(1)?, options(Loss::ctc()))?;
    let (frames, labels, lengths, steps) = spoken(64, 3);
    let target = || LabelSequences::new(&labels, &lengths).with_steps(&steps);
    let first = trainer.step(&frames, target())?.loss;
    for _ in 0..150 {
        trainer.step(&frames, target())?;
    }
    let last = trainer.step(&frames, target())?.loss;
    assert!(last < 0.05 * first, "{first} to {last}");
    assert!(trainer.find_non_finite(&frames, target())?.is_none());

    let (frames, labels, lengths, steps) = spoken(50, 8);
    let model = trainer.into_model();
    let scores = model.forward(&frames)?;
    let mut right = [0, 0];
    for sample in 0..50 {
        let rows = scores.index_axis(Axis(0), sample);
        let rows = rows.slice(s![..steps[sample] as usize, ..]).to_owned();
        let expected = labels.slice(s![sample, ..lengths[sample]]).to_vec();
        right[0] += usize::from(greedy_labels(rows.view(), 0)? == expected);
        let found = prefix_beam_search(log_probabilities(&rows).view(), 0, 8)?;
        right[1] += usize::from(found[0].labels == expected);
    }
    assert!(right[0] >= 40 && right[1] + 1 >= right[0], "{right:?} of 50");
    Ok(())
}

/// Frames beyond a sample's steps change neither the loss nor the parameters; without numbers of steps, all count.
#[test]
fn padding_does_not_count() -> Outcome {
    let stepped = |frames: &Array3<f32>, target: LabelSequences<'_>| -> Result<_, Error> {
        // No recurrence, which would read on.
        network! { network Each(frames: [T, 6]) -> [T, 4] { f: linear(4) } }
        let mut trainer = Trainer::new(Each::model(5)?, options(Loss::ctc()))?;
        let loss = trainer.step(frames, target)?.loss;
        Ok((loss, trainer.into_model().parameters().to_named()))
    };
    let (frames, labels, lengths, steps) = spoken(6, 4);
    let mut other = frames.clone();
    for (sample, &steps) in steps.iter().enumerate() {
        other.slice_mut(s![sample, steps as usize.., ..]).fill(9.0);
    }
    let target = || LabelSequences::new(&labels, &lengths).with_steps(&steps);
    let expected = stepped(&frames, target())?;
    assert_eq!(stepped(&other, target())?, expected);
    // Any other padding of labels, of any length.
    let wider =
        Array2::from_shape_fn((6, 5), |(n, k)| if k < 3 && labels[[n, k]] > 0 { labels[[n, k]] } else { 2 });
    let padded = stepped(&frames, LabelSequences::new(&wider, &lengths).with_steps(&steps))?;
    assert!((padded.0 - expected.0).abs() < 1e-5 * expected.0);
    let all = stepped(&frames, LabelSequences::new(&labels, &lengths))?;
    assert_eq!(all, stepped(&frames, LabelSequences::new(&labels, &lengths).with_steps(&[12; 6]))?);
    assert_ne!(all.0, expected.0);
    Ok(())
}

#[test]
fn one_of_several_outputs() -> Outcome {
    let losses = vec![
        OutputLoss::new("words", Loss::ctc()),
        OutputLoss::new("tone", Loss::CrossEntropy).weighted(0.25),
    ];
    let options = options(Loss::default()).losses(losses);
    let mut trainer = Trainer::new(Model::<Both>::new(2)?, options)?;
    let (frames, labels, lengths, _) = spoken(8, 2);
    let tones = Array2::from_shape_fn((8, 12), |(n, t)| ((n + t) % 3) as i32);
    let words = || ("words", Target::from(LabelSequences::new(&labels, &lengths)));
    let first = trainer.step(&frames, [words(), ("tone", Target::from(&tones))])?.loss;
    let mut last = first;
    for _ in 0..60 {
        last = trainer.step(&frames, [("tone", Target::from(&tones)), words()])?.loss;
    }
    assert!(last < 0.6 * first, "{first} to {last}");
    let error = trainer.step(&frames, [("words", Target::from(&tones)), ("tone", Target::from(&tones))]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "training `Both` needs sequences of labels with their lengths, `LabelSequences`, for the CTC loss but was given \
         labels without lengths"
    );
    Ok(())
}

#[test]
fn labels_that_cannot_be_aligned_are_refused() -> Outcome {
    let mut trainer = Trainer::new(Reader::model(1)?, options(Loss::ctc()))?;
    let frames = Array3::zeros((2, 5, 6));
    let mut refused = |labels: &Array2<i32>, lengths: &[i32], steps: Option<&[i32]>| {
        let target = LabelSequences { steps, ..LabelSequences::new(labels, lengths) };
        trainer.step(&frames, target).unwrap_err()
    };
    let labels = array![[1, 2, 3], [2, 2, 2]];
    for (lengths, steps, problem, message) in [
        (
            [3, 4],
            None,
            SequenceProblem::Labels { length: 4, most: 3 },
            "has 4 labels, but rows of labels have 3; give a number from 0 to 3",
        ),
        (
            [3, -1],
            None,
            SequenceProblem::Labels { length: -1, most: 3 },
            "has -1 labels, but rows of labels have 3; give a number from 0 to 3",
        ),
        (
            [3, 2],
            Some([5, 0]),
            SequenceProblem::Steps { length: 0, most: 5 },
            "has 0 steps, but the output has 5; give a number from 1 to 5, of steps of the output, not of the input",
        ),
        (
            [3, 2],
            Some([5, 6]),
            SequenceProblem::Steps { length: 6, most: 5 },
            "has 6 steps, but the output has 5; give a number from 1 to 5, of steps of the output, not of the input",
        ),
        (
            [3, 3],
            Some([3, 4]),
            SequenceProblem::TooFewSteps { labels: 3, needed: 5, steps: 4 },
            "has 4 steps, but its 3 labels need 5: one each, and a blank between equal ones; give it more steps, or set \
             `zero_infinity` in `Loss::Ctc` to leave such samples out",
        ),
    ] {
        let error = refused(&labels, &lengths, steps.as_ref().map(|steps| &steps[..]));
        assert_eq!(error.to_string(), format!("training `Reader`: sample 1 {message}"));
        assert!(
            matches!(&error, Error::LabelSequence { sample: 1, problem: got, .. } if *got == problem),
            "{error:?}"
        );
    }
    let error = refused(&array![[1, 2], [3, 0]], &[2, 2], None);
    assert_eq!(
        error.to_string(),
        "training `Reader`: sample 1 has the label 0 at place 1, which is the blank; give labels other numbers, or name \
         another class as `blank` in `Loss::Ctc`"
    );
    for wrong in [4, -1] {
        let error = refused(&array![[1, wrong], [3, 1]], &[2, 2], None);
        assert!(
            matches!(&error, Error::Label { place, label, classes: 4, .. } if place == &[0, 1] && *label == wrong)
        );
    }
    // What lies beyond the labels does not matter.
    for (labels, lengths, steps, expected) in [
        (&labels, &[3][..], None, "needs 2 numbers of labels, one per sample but was given 1"),
        (&labels, &[3, 3], Some(&[5][..]), "needs 2 numbers of steps, one per sample but was given 1"),
        (
            &array![[1, 2, 3]],
            &[3, 3],
            None,
            "needs labels of shape [2, most labels of a sample], at least one but was given an array of shape [1, 3]",
        ),
        (
            &Array2::zeros((2, 0)),
            &[0, 0],
            None,
            "needs labels of shape [2, most labels of a sample], at least one but was given an array of shape [2, 0]",
        ),
    ] {
        assert_eq!(refused(labels, lengths, steps).to_string(), format!("training `Reader` {expected}"));
    }
    assert_eq!(trainer.steps(), 0);
    trainer.step(&frames, LabelSequences::new(&array![[1, 0], [-7, 99]], &[1, 0]))?;
    let error = trainer.step(&frames, &[1, 2]).unwrap_err();
    assert!(error.to_string().contains("was given labels without lengths"), "{error}");
    let mut labelled = Trainer::new(Reader::model(1)?, TrainerOptions::default())?;
    let error = labelled.step(&frames, LabelSequences::new(&labels, &[3, 3])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "training `Reader` needs targets of the cross-entropy but was given sequences of labels"
    );
    let error = Trainer::new(Model::<Vector>::new(0)?, options(Loss::ctc())).unwrap_err();
    assert!(error.to_string().contains("the CTC loss needs an output of logits for each step"), "{error}");
    Ok(())
}

/// A sample that nothing aligns with is left out if asked: the others are trained as without it.
#[test]
fn impossible_samples_may_be_left_out() -> Outcome {
    let loss = Loss::Ctc { blank: 0, per_label: false, zero_infinity: true };
    let (frames, ..) = spoken(3, 6);
    let frames = frames.slice(s![.., ..3, ..]).to_owned();
    let stepped = |labels: &Array2<i32>, lengths: &[i32]| -> Result<_, Error> {
        let options = TrainerOptions::default().check_finite(true);
        let mut trainer = Trainer::new(Reader::model(1)?, options.loss(loss.clone()))?;
        let loss = trainer.step(&frames, LabelSequences::new(labels, lengths))?.loss;
        Ok((loss, trainer.into_model().parameters().to_named()))
    };
    // The middle sample has two equal labels in three steps, or three.
    let (possible, left) = stepped(&array![[1, 2, 0], [3, 3, 3], [2, 0, 0]], &[2, 2, 1])?;
    let (without, parameters) = stepped(&array![[1, 2, 0], [3, 3, 3], [2, 0, 0]], &[2, 3, 1])?;
    assert!(without.is_finite() && without < possible);
    assert_ne!(left, parameters);
    assert!(parameters.values().all(|values| values.iter().all(|value| value.is_finite())));
    Ok(())
}

#[test]
fn memory_is_told_for_rows_of_labels() -> Outcome {
    let trainer = Trainer::new(Reader::model(1)?, options(Loss::ctc()))?;
    let of = |labels: usize| -> Result<usize, Box<dyn std::error::Error>> {
        let sizes = Sizes::from(4).with("T".parse()?, 20).with("S".parse()?, labels);
        Ok(trainer.memory(sizes).batched)
    };
    assert!(of(40)? > of(10)?);
    Ok(())
}
