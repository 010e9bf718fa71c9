//! Text: vocabularies, batches of tokens, and decoding.
//!
//! A [`Vocabulary`] turns text into tokens, the indices that an `embedding` looks up. A [`Partition`] cuts a long text
//! into batches for a language model, and [`Buckets`] batches sequences of different lengths. A [`Sampler`] draws the
//! next token from a network's scores, and [`beam_search`] finds likely sequences. [`greedy_labels`] and
//! [`prefix_beam_search`] read the labels of networks that were trained with the CTC loss.
//!
//! ```
//! use windlass::text::{Partition, Vocabulary, VocabularyOptions};
//!
//! let text = "the time traveller, for so it will be convenient to speak of him";
//! let vocabulary = Vocabulary::of([text], &VocabularyOptions::characters())?;
//! let corpus = vocabulary.encode(text);
//! for (inputs, targets) in Partition::random(2, 5).batches(&corpus, 0)? {
//!     assert_eq!((inputs.shape(), targets.shape()), (&[2, 5][..], &[2, 5][..]));
//!     // trainer.step(&inputs, &targets)?
//! }
//! # Ok::<(), windlass::Error>(())
//! ```

mod alignment;
mod beam;
mod buckets;
mod error;
mod partition;
mod sampling;
mod vocabulary;

pub use alignment::{LabelHypothesis, collapse, greedy_labels, prefix_beam_search, prefix_beam_search_with};
pub use beam::{BeamOptions, Hypothesis, beam_search};
pub use buckets::{Buckets, PaddedBatch, pad};
pub use error::TextError;
pub use partition::{Order, Partition, PartitionBatches};
pub use sampling::{Sampler, SamplerOptions, log_probabilities};
pub use vocabulary::{Unit, Vocabulary, VocabularyOptions, letters};
