//! From a text to a language model that continues it.

use ndarray::{Array2, Axis, s};
use windlass::metrics::Perplexity;
use windlass::text::{
    BeamOptions, Partition, Sampler, SamplerOptions, Vocabulary, VocabularyOptions, beam_search,
    log_probabilities,
};
use windlass::{Error, Model, Optimizer, Schedule, Trainer, TrainerOptions, network};

use crate::support::numbers::Outcome;

network! {
    /// Scores the next token by the last one: enough for a text in which no character is followed by two others.
    network Bigrams<vocabulary = 12>(tokens: [T] of index) -> [T, vocabulary] {
        embedding(vocabulary, 16); linear(vocabulary)
    }

    network Alphabet = Bigrams<vocabulary = 8>;
}

fn trained(corpus: &[i32]) -> Result<(Model<Alphabet>, f64), Error> {
    let optimizer = Optimizer::adam();
    let schedule = Some(Schedule::constant(0.05)?);
    let mut trainer =
        Trainer::new(Model::new(3)?, TrainerOptions::default().optimizer(optimizer).schedule(schedule))?;
    let mut last = Perplexity::default();
    for epoch in 0..12 {
        last = Perplexity::default();
        for (inputs, targets) in Partition::random(4, 9).batches(corpus, epoch)? {
            last.record(trainer.step(&inputs, &targets)?.loss, inputs.len());
        }
    }
    Ok((trainer.into_model(), last.value().unwrap_or(f64::NAN)))
}

#[test]
fn a_language_model_continues_what_it_has_read() -> Outcome {
    let text = "abcdefg".repeat(40);
    let vocabulary = Vocabulary::of([text.as_str()], &VocabularyOptions::characters())?;
    assert_eq!(vocabulary.size(), 8);
    let (model, perplexity) = trained(&vocabulary.encode(&text))?;
    assert!((1.0..1.2).contains(&perplexity), "{perplexity}");

    let start = vocabulary.encode("c");
    let mut tokens = start.clone();
    let mut sampler = Sampler::new(SamplerOptions::default().temperature(0.5).top_k(3).seed(1))?;
    for _ in 0..9 {
        let scores = model.forward(&Array2::from_shape_vec((1, tokens.len()), tokens.clone())?)?;
        let next = scores.slice(s![0, -1, ..]).to_vec();
        tokens.push(sampler.sample(&next)?);
    }
    assert_eq!(vocabulary.decode(&tokens)?, "cdefgabcde");

    // All prefixes of a beam are one batch.
    let next = |prefixes: &[Vec<i32>]| -> Result<Array2<f32>, Error> {
        let shape = (prefixes.len(), prefixes[0].len());
        let tokens = Array2::from_shape_fn(shape, |(prefix, step)| prefixes[prefix][step]);
        let scores = model.forward(&tokens)?;
        let last = scores.index_axis(Axis(1), tokens.ncols() - 1).into_dimensionality();
        Ok(log_probabilities(&last.expect("a row for each prefix")))
    };
    let options = BeamOptions::default().width(3).steps(6).end(vocabulary.find("b")).start(start);
    let found = beam_search(&options, next)?;
    assert_eq!(vocabulary.decode(&found[0].tokens)?, "defga");
    assert!(found[0].is_complete && found[0].log_probability > -1.0);
    Ok(())
}
