//! Servers: many callers of one model, and requests gathered into batches.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use windlass::ndarray::{Array2, Array3, ArrayD};
use windlass::{Builder, Dynamic, Error, Layer, Model, Options, Predictor, network};

network! {
    /// Large enough to be shared by threads, even for one sample.
    network Wide(x: [512]) -> [512] { linear(1024); relu; linear(1024); tanh; linear(512) }
}

network! {
    network Words(tokens: [T] of index) -> [6] { embedding(11, 8); rnn(6); last_step }
}

const CALLERS: usize = 8;

fn sample(caller: usize, samples: usize) -> Array2<f32> {
    Array2::from_shape_fn((samples, 512), |(row, column)| {
        ((caller * 7919 + row * 104_729 + column * 31) % 1000) as f32 / 500.0 - 1.0
    })
}

fn bits(array: &ArrayD<f32>) -> Vec<u32> {
    array.iter().map(|value| value.to_bits()).collect()
}

/// Calls `each` on several threads at once.
fn at_once(each: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(CALLERS);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (barrier, each) = (&barrier, &each);
            scope.spawn(move || {
                barrier.wait();
                each(caller);
            });
        }
    });
}

#[test]
fn concurrent_callers_get_the_bits_of_a_single_one() -> Result<(), Error> {
    for threads in [1, 2, 3] {
        let model: Model<Wide> = Model::with_options(3, &Options::default().threads(threads))?;
        let inputs: Vec<_> = (0..CALLERS).map(|caller| sample(caller, 1 + caller % 3)).collect();
        let alone: Vec<_> =
            inputs.iter().map(|input| Ok(bits(&model.forward(input)?))).collect::<Result<_, Error>>()?;
        at_once(|caller| {
            for _ in 0..40 {
                let together = model.forward(&inputs[caller]).unwrap();
                assert_eq!(bits(&together), alone[caller], "{threads} threads, caller {caller}");
            }
        });
    }
    Ok(())
}

#[test]
fn a_batch_of_several_callers_gives_each_its_own_bits() -> Result<(), Error> {
    let predictor: Predictor<Wide> = Model::<Wide>::new(3)?.into_predictor()?;
    let inputs: Vec<_> = (0..CALLERS).map(|caller| sample(caller, 1 + caller % 3)).collect();
    let alone: Vec<_> =
        inputs.iter().map(|input| Ok(bits(&predictor.forward(input)?))).collect::<Result<_, Error>>()?;
    for most in [1, 2, 5, 16, 64] {
        let server = Model::<Wide>::new(3)?.into_predictor()?.batching(most, Duration::from_millis(2))?;
        at_once(|caller| {
            for _ in 0..20 {
                let outputs = server.forward(&inputs[caller]).unwrap();
                assert_eq!(outputs.shape(), [1 + caller % 3, 512]);
                assert_eq!(bits(&outputs), alone[caller], "at most {most}, caller {caller}");
            }
        });
    }
    Ok(())
}

#[test]
fn a_full_batch_runs_at_once_and_a_lone_request_waits_no_longer_than_asked() -> Result<(), Error> {
    // All callers together fill the batch: if they were not gathered, each would wait for a minute.
    let server = Model::<Wide>::new(3)?.into_predictor()?.batching(CALLERS, Duration::from_secs(60))?;
    let start = Instant::now();
    at_once(|caller| {
        server.forward(&sample(caller, 1)).unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(50));
    // A request as large as a batch does not wait at all.
    server.forward(&sample(0, CALLERS))?;
    assert!(start.elapsed() < Duration::from_secs(50));

    let server = Model::<Wide>::new(3)?.into_predictor()?.batching(CALLERS, Duration::ZERO)?;
    assert_eq!(server.forward(&sample(0, 2))?.shape(), [2, 512]);
    Ok(())
}

#[test]
fn requests_of_other_lengths_and_wrong_ones_do_not_disturb_a_batch() -> Result<(), Error> {
    let predictor = Model::<Words>::new(3)?.into_predictor()?;
    let server = Model::<Words>::new(3)?.into_predictor()?.batching(3, Duration::from_millis(5))?;
    at_once(|caller| {
        for round in 0..10 {
            let steps = 2 + (caller + round) % 3;
            let tokens = Array2::from_shape_fn((1, steps), |(_, step)| ((caller + step) % 11) as i32);
            match caller % 4 {
                3 => {
                    let outside = Array2::from_elem((1, steps), 11);
                    assert!(matches!(server.forward(&outside), Err(Error::Token(_))));
                    let cube = Array3::<i32>::zeros((1, 2, 2));
                    assert!(matches!(server.forward(&cube), Err(Error::Input { .. })));
                }
                _ => {
                    let expected = predictor.forward(&tokens).unwrap();
                    assert_eq!(bits(&server.forward(&tokens).unwrap()), bits(&expected));
                }
            }
        }
    });
    Ok(())
}

#[test]
fn settings_of_batches_are_checked() -> Result<(), Error> {
    let ready = || Model::<Wide>::new(3)?.into_predictor();
    let message =
        |result: Result<_, Error>| result.map(|_: windlass::Batching<Wide>| ()).unwrap_err().to_string();
    assert_eq!(message(ready()?.batching(0, Duration::ZERO)), "`max_batch` is 0 but must be at least 1");
    assert!(message(ready()?.batching(1, Duration::from_secs(3600))).starts_with("`wait` is 3600s"));

    // Steps as the first axis: an output that is not one row for each sample.
    let mut builder = Builder::new("steps");
    let x = builder.input("x", &[4])?;
    let y = builder.layer("f1", &Layer::linear(2), x)?;
    builder.output("y", y)?;
    let server = Dynamic::new(builder.finish()?)?.model(1)?.into_predictor()?.batching(4, Duration::ZERO)?;
    assert_eq!(server.forward(&[0.5; 8])?.get("y")?.shape(), [2, 2]);
    assert_eq!(server.predictor().network().name(), "steps");
    Ok(())
}
