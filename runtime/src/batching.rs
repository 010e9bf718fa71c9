//! Gathers the requests of several threads into one batch.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ndarray::ArrayD;
use windlass_compiler::shape::{Dim, Sizes, Symbol};

use crate::available;
use crate::error::Error;
use crate::network::ports::Least;
use crate::network::{AnyNetwork, Feed};
use crate::predictor::Predictor;

/// The longest wait that is accepted.
const LONGEST: Duration = Duration::from_secs(60);

/// A predictor for many concurrent callers: what several threads ask for at about the same time runs as one batch, which
/// takes less time than one run for each. [`Predictor::batching`] makes it.
///
/// A request waits for others until the batch is full, at most for the given time. Requests whose open sizes differ, such as
/// the lengths of sequences, are in different batches. Each caller gets the bits that it would get alone, and an error in a
/// request is that caller's alone: inputs are checked before they join a batch. If a batch cannot run, for lack of memory or
/// because the thread that runs it panics, its callers run their own requests.
///
/// ```
/// use std::time::Duration;
///
/// use windlass::{Batching, Builder, Dynamic, Layer};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let predictor = Dynamic::new(builder.finish()?)?.model(42)?.into_predictor()?;
///
/// let server = predictor.batching(64, Duration::from_millis(1))?;
/// std::thread::scope(|scope| {
///     for caller in 0..4 {
///         let server = &server;
///         scope.spawn(move || {
///             let x = [caller as f32; 4];
///             assert_eq!(server.forward(&x).unwrap(), server.predictor().forward(&x).unwrap());
///         });
///     }
/// });
/// # Ok::<(), windlass::Error>(())
/// ```
pub struct Batching<N> {
    predictor: Predictor<N>,
    max_batch: usize,
    wait: Duration,
    /// The batches that requests may still join: at most one for each value of the open sizes.
    open: Mutex<Vec<Arc<Group>>>,
}

/// The requests of a batch.
struct Group {
    /// The open sizes of all requests, for a batch of one.
    sizes: Sizes,
    state: Mutex<State>,
    changed: Condvar,
}

/// Where a batch is.
enum State {
    /// Requests join.
    Gathering(Gathered),
    /// The thread of its first request has taken it.
    Running,
    /// The elements of each output.
    Done(Arc<Vec<Vec<f32>>>),
    /// It could not run.
    Failed,
}

/// The inputs of the requests so far, one behind the other.
struct Gathered {
    inputs: Vec<Elements>,
    samples: usize,
    /// Whether no more requests may join.
    is_closed: bool,
}

/// What became of a request that was to join a batch.
struct Joined {
    /// The samples before its own, if there was room for it.
    first: Option<usize>,
    /// Whether no more requests may join.
    is_full: bool,
}

impl Gathered {
    /// Adds a request, if there is room for it; otherwise the batch is full.
    fn join(&mut self, feeds: &[Feed<'_>], samples: usize, max_batch: usize) -> Joined {
        let fits = self.samples + samples <= max_batch;
        let first = fits.then_some(self.samples);
        if fits {
            self.inputs.iter_mut().zip(feeds).for_each(|(all, feed)| all.extend(feed));
            self.samples += samples;
        }
        self.is_closed = !fits || self.samples == max_batch;
        Joined { first, is_full: self.is_closed }
    }
}

/// The elements of an input.
enum Elements {
    Numbers(Vec<f32>),
    Indices(Vec<i32>),
}

impl Elements {
    fn of(feed: &Feed<'_>) -> Self {
        match feed {
            Feed::Numbers(samples) => Elements::Numbers(samples.elements().to_vec()),
            Feed::Indices(samples) => Elements::Indices(samples.elements().to_vec()),
        }
    }

    /// Adds the elements of another request. Its inputs have been checked, so they are of the same kind.
    fn extend(&mut self, feed: &Feed<'_>) {
        match (self, feed) {
            (Elements::Numbers(all), Feed::Numbers(more)) => all.extend_from_slice(more.elements()),
            (Elements::Indices(all), Feed::Indices(more)) => all.extend_from_slice(more.elements()),
            (Elements::Numbers(_), Feed::Indices(_)) | (Elements::Indices(_), Feed::Numbers(_)) => {}
        }
    }

    fn feed(&self) -> Feed<'_> {
        match self {
            Elements::Numbers(elements) => Feed::from(elements),
            Elements::Indices(elements) => Feed::from(elements),
        }
    }
}

/// The place of a request in a batch.
struct Ticket {
    group: Arc<Group>,
    /// The samples before its own.
    first: usize,
}

/// Says that a batch failed unless it is done, even after a panic, so that no caller waits for ever.
struct Outcome<'g>(&'g Group);

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if !matches!(*state, State::Done(_)) {
            *state = State::Failed;
        }
        self.0.changed.notify_all();
    }
}

impl<N: AnyNetwork> fmt::Debug for Batching<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batching { predictor, max_batch, wait, .. } = self;
        write!(f, "Batching {{ {predictor:?}, at most {max_batch} samples, {wait:?} }}")
    }
}

impl<N: AnyNetwork> Batching<N> {
    pub(crate) fn new(predictor: Predictor<N>, max_batch: usize, wait: Duration) -> Result<Self, Error> {
        if max_batch == 0 {
            return Err(Error::setting("max_batch", 0, "at least 1"));
        }
        if wait > LONGEST {
            return Err(Error::setting("wait", format!("{wait:?}"), format!("at most {LONGEST:?}")));
        }
        let ports = predictor.compiled().ports();
        for (name, shape) in ports.inputs.iter().chain(&ports.outputs) {
            // The samples of requests must be neighbours in memory.
            if shape.dims().first() != Some(&Dim::from(Symbol::BATCH)) {
                let expected = "of a network whose inputs and outputs have the batch as their first axis";
                return Err(Error::setting("batching", format!("`{name}` {shape}"), expected));
            }
        }
        Ok(Batching { predictor, max_batch, wait, open: Mutex::new(Vec::new()) })
    }

    /// The predictor, which runs each request on its own.
    pub fn predictor(&self) -> &Predictor<N> {
        &self.predictor
    }

    /// Runs the network on the samples of this request, together with those of other threads. A request of as many samples as
    /// a batch has at most runs at once.
    ///
    /// # Errors
    /// Those of [`Model::forward`](crate::model::Model::forward), for this request.
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        let network = self.predictor.network();
        let forward = self.predictor.compiled();
        let feeds = network.order_inputs(inputs.into())?;
        let feeds = feeds.as_ref();
        let sizes = forward.ports().sizes(network.name(), feeds, Least::OneStep)?;
        let mut results = forward.empty_outputs(&sizes)?;
        let mut outputs: Vec<&mut [f32]> =
            results.as_mut().iter_mut().filter_map(ArrayD::as_slice_mut).collect();
        // A batch needs a first sample.
        let may_share = (1..self.max_batch).contains(&sizes.batch());
        let is_shared = may_share && self.shared(feeds, &sizes, &mut outputs);
        if !is_shared {
            self.predictor.run_feeds(feeds, outputs.into_iter(), &sizes)?;
        }
        Ok(network.name_results(results))
    }

    /// Runs a request as part of a batch. Returns whether that succeeded.
    fn shared(&self, feeds: &[Feed<'_>], sizes: &Sizes, outputs: &mut [&mut [f32]]) -> bool {
        let Ticket { group, first } = self.join(feeds, sizes);
        if first == 0 {
            self.lead(&group);
        }
        let mut state = lock(&group.state);
        let done = loop {
            match &*state {
                State::Done(results) => break Arc::clone(results),
                State::Failed => return false,
                State::Gathering(_) | State::Running => {
                    state = group.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(state);
        for (own, all) in outputs.iter_mut().zip(&*done) {
            // Elements of a sample are contiguous, and those of a request follow those of the requests before it.
            let start = own.len() / sizes.batch() * first;
            own.copy_from_slice(&all[start..start + own.len()]);
        }
        true
    }

    /// Joins a batch with the same open sizes, or begins one.
    fn join(&self, feeds: &[Feed<'_>], sizes: &Sizes) -> Ticket {
        let samples = sizes.batch();
        let item = sizes.clone().with(Symbol::BATCH, 1);
        let mut open = lock(&self.open);
        if let Some(place) = open.iter().position(|group| group.sizes == item) {
            let group = Arc::clone(&open[place]);
            let mut state = lock(&group.state);
            let joined = match &mut *state {
                State::Gathering(gathered) => gathered.join(feeds, samples, self.max_batch),
                // The thread of its first request has panicked.
                State::Running | State::Done(_) | State::Failed => Joined { first: None, is_full: true },
            };
            if joined.is_full {
                open.swap_remove(place);
                group.changed.notify_all();
            }
            drop(state);
            if let Some(first) = joined.first {
                return Ticket { group, first };
            }
        }
        let inputs = feeds.iter().map(Elements::of).collect();
        let state = State::Gathering(Gathered { inputs, samples, is_closed: false });
        let group = Arc::new(Group { sizes: item, state: Mutex::new(state), changed: Condvar::new() });
        open.push(Arc::clone(&group));
        Ticket { group, first: 0 }
    }

    /// Waits for other requests, then runs the batch.
    fn lead(&self, group: &Arc<Group>) {
        let outcome = Outcome(group);
        let deadline = Instant::now() + self.wait;
        let mut state = lock(&group.state);
        while matches!(&*state, State::Gathering(gathered) if !gathered.is_closed) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                break;
            };
            state = group.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // Requests join under this lock, so none joins afterwards.
        lock(&self.open).retain(|other| !Arc::ptr_eq(other, group));
        let State::Gathering(gathered) = std::mem::replace(&mut *lock(&group.state), State::Running) else {
            return;
        };
        if let Ok(outputs) = self.run(&gathered, &group.sizes) {
            *lock(&group.state) = State::Done(Arc::new(outputs));
        }
        drop(outcome);
    }

    /// Runs a batch; returns the elements of each output.
    fn run(&self, gathered: &Gathered, item: &Sizes) -> Result<Vec<Vec<f32>>, Error> {
        let forward = self.predictor.compiled();
        let sizes = item.clone().with(Symbol::BATCH, gathered.samples);
        let what = || format!("a batch of {} requests", gathered.samples);
        let mut outputs = forward
            .ports()
            .outputs
            .iter()
            .map(|(_, shape)| available::zeros(shape.elements(sizes.clone()), what))
            .collect::<Result<Vec<Vec<f32>>, Error>>()?;
        let feeds: Vec<Feed<'_>> = gathered.inputs.iter().map(Elements::feed).collect();
        self.predictor.run_feeds(&feeds, outputs.iter_mut().map(Vec::as_mut_slice), &sizes)?;
        Ok(outputs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use windlass_compiler::graph::{Builder, Layer};

    use super::*;
    use crate::network::Dynamic;

    #[test]
    fn callers_run_their_own_requests_if_the_thread_of_a_batch_panics() {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[3]).unwrap();
        let y = builder.layer("f1", &Layer::linear(2), x).unwrap();
        builder.output("y", y).unwrap();
        let predictor =
            Dynamic::new(builder.finish().unwrap()).unwrap().model(1).unwrap().into_predictor().unwrap();
        let server = Batching::new(predictor, 8, Duration::from_secs(60)).unwrap();
        let feeds = [Feed::from(&[0.25f32; 3])];
        let Ticket { group, first } = server.join(&feeds, &Sizes::from(1));
        assert_eq!(first, 0);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| server.forward(&[0.5; 3]).unwrap());
            while !matches!(&*lock(&group.state), State::Gathering(gathered) if gathered.samples == 2) {
                std::thread::yield_now();
            }
            // What unwinding does.
            drop(Outcome(&group));
            assert_eq!(caller.join().unwrap(), server.predictor().forward(&[0.5; 3]).unwrap());
        });
        // The next request begins another batch.
        let Ticket { group: next, first } = server.join(&feeds, &Sizes::from(1));
        assert!(!Arc::ptr_eq(&group, &next) && first == 0 && lock(&server.open).len() == 1);
    }
}
