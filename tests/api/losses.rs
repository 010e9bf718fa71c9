//! Losses of a trainer: of several outputs by name, per pixel, and their targets.

use windlass::{Error, Loss, Model, Optimizer, OutputLoss, Target, Trainer, TrainerOptions, network};

network! {
    network Both(x: [4]) -> (class: [3], place: [2]) {
        linear(8); tanh; let body = it;
        linear(3); class = it;
        from(body); linear(2); place = it;
    }

    network Pixels(image: [1, 4, 4]) -> [3, 4, 4] { conv2d(8, kernel_size = 3, padding = 1); relu; conv2d(3, kernel_size = 1) }
}

#[test]
fn several_outputs_are_trained_together() -> Result<(), Error> {
    let losses = vec![
        OutputLoss::new("class", Loss::CrossEntropy),
        OutputLoss::new("place", Loss::Huber { delta: 1.0 }).weighted(0.5),
    ];
    let options = TrainerOptions::default().losses(losses).optimizer(Optimizer::adam());
    let mut trainer = Trainer::new(Model::<Both>::new(1)?, options)?;
    let x: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7548).fract() - 0.5).collect();
    let labels: Vec<i32> = x.chunks(4).map(|x| i32::from(x[0] > 0.0) + i32::from(x[1] > 0.0)).collect();
    let places: Vec<f32> = x.chunks(4).flat_map(|x| [x[0] + x[1], x[2] - x[3]]).collect();
    let targets = || [("place", Target::from(&places)), ("class", Target::from(&labels))];
    let first = trainer.step(&x, targets())?.loss;
    for _ in 0..500 {
        trainer.step(&x, targets())?;
    }
    let last = trainer.step(&x, targets())?.loss;
    assert!(last < 0.3 * first, "{first} to {last}");
    // Either loss alone fell.
    assert_eq!(trainer.outputs().len(), 96);
    assert!(trainer.find_non_finite(&x, targets())?.is_none());
    Ok(())
}

/// Each pixel has a label: the class of its brightness.
#[test]
fn classes_per_pixel() -> Result<(), Error> {
    for loss in
        [Loss::CrossEntropy, Loss::CrossEntropyWith { label_smoothing: 0.05, weights: vec![1.0, 2.0, 1.0] }]
    {
        let options = TrainerOptions::default().loss(loss).optimizer(Optimizer::adam());
        let mut trainer = Trainer::new(Model::<Pixels>::new(2)?, options)?;
        let images: Vec<f32> = (0..64).map(|i| (i as f32 * 0.5698).fract()).collect();
        let labels: Vec<i32> = images.iter().map(|x| (x * 3.0) as i32).collect();
        let first = trainer.step(&images, &labels)?.loss;
        for _ in 0..400 {
            trainer.step(&images, &labels)?;
        }
        let last = trainer.step(&images, &labels)?.loss;
        assert!(last < 0.7 * first, "{first} to {last}");
        let error = trainer.step(&images, &labels[..4]).unwrap_err();
        let expected = "training `Pixels` needs 64 labels, one per pixel but was given 4 labels";
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}

#[test]
fn targets_of_several_outputs_without_their_names() -> Result<(), Error> {
    let model = Model::<Both>::new(1)?;
    let losses =
        vec![OutputLoss::new("class", Loss::CrossEntropy), OutputLoss::new("place", Loss::MeanSquaredError)];
    let options = TrainerOptions::default().losses(losses);
    let mut trainer = Trainer::new(model, options)?;
    let (x, labels, places) = ([0.5; 8], [0, 1], [0.5; 4]);
    let class = || ("class", Target::from(&labels));
    let place = || ("place", Target::Values((&places).into()));
    for (target, expected) in [
        (
            Target::from(&labels),
            "needs targets by name for `class`, `place` but was given one without a name",
        ),
        (Target::from([class()]), "needs a target for `place` but was given targets for `class`"),
        (
            Target::from([class(), ("plaice", place().1)]),
            "needs targets for `class`, `place` but was given one for `plaice`",
        ),
        (
            Target::from([class(), place(), place()]),
            "needs one target for each name but was given several for `place`",
        ),
        (
            Target::from([("class", place().1), place()]),
            "needs integer labels for the cross-entropy but was given values",
        ),
    ] {
        let error = trainer.step(&x, target).unwrap_err();
        assert!(matches!(error, Error::Target { .. }));
        assert_eq!(error.to_string(), format!("training `Both` {expected}"));
    }
    let error = trainer.step(&x, [("class", Target::from(&[0, 7])), place()]).unwrap_err();
    assert!(matches!(&error, Error::Label { place, label: 7, classes: 3, .. } if place == &[1]));
    assert_eq!(trainer.steps(), 0);
    trainer.step(&x, [place(), class()])?;

    // A single loss takes no names.
    let options = TrainerOptions::default().output("class");
    let mut trainer = Trainer::new(Model::<Both>::new(1)?, options)?;
    let error = trainer.step(&x, [("class", &labels)]).unwrap_err();
    let expected = "training `Both` needs one target without a name but was given targets for `class`";
    assert_eq!(error.to_string(), expected);
    Ok(())
}
