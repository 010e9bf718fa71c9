//! Networks of sequences: their length is an open size. They compute what the same network of a fixed length does, to the
//! same bits, and what the interpreter does.

mod support;

use ndarray::{Array3, ArrayD};
use support::{all_bits, bits, noise};
use windlass::{Input, Model, Network, Options, Trainer, TrainerOptions, network};

/// A network of sequences of any length, and the same of 1, 2, 7 and 64 steps.
macro_rules! taggers {
    ($($name:ident of $steps:tt),*) => {$(
        network! {
            network $name(frames: [$steps, 12]) -> [$steps, 5] {
                f1: linear(20); relu;
                f2: linear(9); tanh;
                dropout(0.25);
                f3: linear(5)
            }
        }
    )*};
}

taggers!(Tagger of T, Tagger1 of 1, Tagger2 of 2, Tagger7 of 7, Tagger64 of 64);

fn frames(batch: usize, steps: usize, features: usize) -> Array3<f32> {
    let values = noise(batch * steps * features, 5);
    Array3::from_shape_vec((batch, steps, features), values).unwrap()
}

fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|step| (step * 7 % 5) as i32).collect()
}

/// What a network predicts of frames, and its parameters after some steps of training, from one seed.
fn results<N>(frames: &Array3<f32>, options: &Options) -> (ArrayD<f32>, Vec<(String, Vec<u32>)>)
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let model = Model::<N>::with_options(3, options).unwrap();
    let predicted = model.forward(frames).unwrap();
    let training = TrainerOptions { seed: 9, ..TrainerOptions::default() };
    let mut trainer = Trainer::new(model, training).unwrap();
    let labels = labels(frames.shape()[0] * frames.shape()[1]);
    for _ in 0..3 {
        trainer.step(frames, &labels).unwrap();
    }
    (predicted, all_bits(trainer.model()))
}

#[test]
fn an_open_length_gives_the_bits_of_a_fixed_one() {
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        for (batch, steps) in [(1, 1), (3, 1), (1, 2), (3, 2), (1, 7), (3, 7), (1, 64), (3, 64)] {
            let frames = frames(batch, steps, 12);
            let open = results::<Tagger>(&frames, &options);
            assert_eq!(open.0.shape(), [batch, steps, 5]);
            let fixed = match steps {
                1 => results::<Tagger1>(&frames, &options),
                2 => results::<Tagger2>(&frames, &options),
                7 => results::<Tagger7>(&frames, &options),
                _ => results::<Tagger64>(&frames, &options),
            };
            assert_eq!(
                bits(&open.0),
                bits(&fixed.0),
                "{batch} sequences of {steps} steps, {threads} threads"
            );
            assert_eq!(open.1, fixed.1, "{batch} sequences of {steps} steps, {threads} threads");
        }
    }
}
