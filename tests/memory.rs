//! Memory reports are accurate: models, predictors and trainers hold, and take at most, what they reported before they
//! ran. One test in its own process, because it counts the memory of all threads.

mod counting;

use std::sync::atomic::{AtomicUsize, Ordering};

use windlass::{MemoryReport, Model, Optimizer, Options, Trainer, TrainerOptions, network};

use counting::{HELD, PEAK};

network! {
    network Small(image: [8, 20, 20]) -> [10] {
        c1: conv2d(32, kernel_size = 3, padding = 1); n1: batch_norm; relu;
        c2: conv2d(32, kernel_size = 3, padding = 1); relu; max_pool2d(2);
        flatten; f3: linear(10)
    }
}

type Outcome = Result<(), windlass::Error>;

/// What tables of addresses, names and errors may take in addition: negligible compared with any part of a report.
const BESIDE: usize = 8 << 10;

/// The maximum of the bytes held during an operation, relative to those before, and the bytes held afterwards.
fn taken<T>(
    action: impl FnOnce() -> Result<T, windlass::Error>,
) -> Result<(usize, usize, T), windlass::Error> {
    let before = HELD.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let result = action()?;
    let beyond = |bytes: &AtomicUsize| bytes.load(Ordering::SeqCst).saturating_sub(before);
    Ok((beyond(&PEAK), beyond(&HELD), result))
}

#[track_caller]
fn is_about(measured: usize, said: usize, what: &str) {
    assert!((said..said + BESIDE).contains(&measured), "{what}: {measured} bytes measured, {said} said");
}

#[test]
fn reports_are_true() -> Outcome {
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        for batch in [1, 9] {
            let images = vec![0.5; batch * 8 * 20 * 20];
            let labels: Vec<i32> = (0..batch as i32).collect();
            let mut scores = vec![0.0; batch * 10];

            let model: Model<Small> = Model::with_options(1, &options)?;
            let said = model.memory(batch);
            let case = |what: &str, said: &MemoryReport| format!("{what}, {said}");
            assert!(said.prepacking > BESIDE && said.prepacked > BESIDE && said.batched > BESIDE);
            // Memory that is held between runs exists already.
            let (most, left, ()) = taken(|| model.forward_into(&images, &mut [&mut scores]))?;
            is_about(most, said.prepacking + said.run(), &case("first run of a model", &said));
            is_about(left, said.run(), &case("after the first run of a model", &said));
            let freed = HELD.load(Ordering::SeqCst);
            drop(model);
            // The metadata of the code is freed too.
            assert!(freed - HELD.load(Ordering::SeqCst) >= said.held() + said.run());

            let model: Model<Small> = Model::with_options(1, &options)?;
            let said = model.memory(1);
            let before = HELD.load(Ordering::SeqCst);
            let (most, _, predictor) = taken(|| model.into_predictor())?;
            is_about(most, said.prepacking + said.run(), &case("making a predictor", &said));
            let holds_less = before + said.run() - HELD.load(Ordering::SeqCst);
            let said_less = said.held() - predictor.memory(1).held();
            assert!(holds_less.abs_diff(said_less) < BESIDE, "{holds_less} bytes less, {said_less} said");
            // The memory for one sample exists; that of a larger batch replaces it.
            let (one, said) = (said.run(), predictor.memory(batch));
            let (most, left, ()) = taken(|| predictor.forward_into(&images, &mut [&mut scores]))?;
            is_about(most + one, said.run(), &case("first run of a predictor", &said));
            is_about(left + one, said.run(), &case("after the first run of a predictor", &said));

            let training = TrainerOptions::default().optimizer(Optimizer::adam());
            let mut trainer: Trainer<Small> = Trainer::new(Model::with_options(1, &options)?, training)?;
            let said = trainer.memory(batch);
            // Adam has two values for each parameter, and none for the normalisation's statistics.
            let statistics = 2 * 4 * 32;
            assert_eq!(said.parameters, 3 * trainer.model().memory(1).parameters - 2 * statistics);
            assert!(said.batched > BESIDE && said.fixed > BESIDE);
            let (most, left, _) = taken(|| trainer.step(&images, &labels))?;
            is_about(most, said.run(), &case("first step", &said));
            is_about(left, said.run(), &case("after the first step", &said));
            let freed = HELD.load(Ordering::SeqCst);
            drop(trainer);
            assert!(freed - HELD.load(Ordering::SeqCst) >= said.peak());
        }
    }
    Ok(())
}
