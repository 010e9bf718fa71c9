//! Runs and training steps do not allocate after the first one: their memory is reused. One test in its own process,
//! because it counts the allocations of all threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use windlass::data::TensorDataset;
use windlass::{
    Binding, Dynamic, FitOptions, Model, Optimizer, Options, Predictor, Progress, Trainer, TrainerOptions,
    network,
};

network! {
    network Tagger(frames: [T, 4]) -> [T, 3] { f1: linear(8); relu; f2: linear(3) }

    network Listener(frames: [T, 4]) -> [T, 3] { r1: lstm(8); r2: gru(8); f1: linear(3) }

    network Words(tokens: [T] of index) -> [T, 9] { embedding(9, 8); linear(9) }
}

network! {
    network Small(image: [2, 12, 12]) -> [3] {
        c1: conv2d(4, kernel_size = 3, padding = 1); n1: batch_norm; relu; max_pool2d(2);
        flatten; dropout(0.25);
        f2: linear(3)
    }

    network Pair(left: [2], right: [3]) -> (sum: [2], scores: [4]) {
        from(right); r1: linear(2);
        let seen = it;
        add(left); sum = it;
        from(seen); s1: linear(4); softmax; scores = it;
    }
}

/// Counts every allocation of this process.
struct Counting;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all methods call the system's allocator, which fulfils the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(address, layout, size) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Outcome = Result<(), windlass::Error>;

/// The allocations of twenty repetitions, after two that are not counted.
fn requests(mut run: impl FnMut() -> Outcome) -> Result<usize, windlass::Error> {
    run()?;
    run()?;
    let before = REQUESTS.load(Ordering::Relaxed);
    for _ in 0..20 {
        run()?;
    }
    Ok(REQUESTS.load(Ordering::Relaxed) - before)
}

#[test]
fn repeated_runs_and_steps_ask_for_no_memory() -> Outcome {
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        // The smaller batch stays on one thread; some steps of the larger one run on several.
        for batch in [2, 64] {
            let case = format!("{threads} threads, batch {batch}");
            let images = ndarray::Array4::from_elem((batch, 2, 12, 12), 0.5);
            let model: Model<Small> = Model::with_options(1, &options)?;
            let mut scores = vec![0.0; batch * 3];
            let counted = requests(|| model.forward_into(&images, &mut [&mut scores]))?;
            assert_eq!(counted, 0, "forward_into, {case}");
            // Only returned values are allocated: here one array for each output.
            let counted = requests(|| model.forward(&images).map(drop))?;
            assert_eq!(counted, 20, "forward, {case}");

            let (left, right) = (vec![0.5; batch * 2], vec![0.5; batch * 3]);
            let pair: Model<Pair> = Model::with_options(1, &options)?;
            let counted = requests(|| pair.forward(PairInputs::new(&left, &right)).map(drop))?;
            assert_eq!(counted, 2 * 20, "two outputs, {case}");

            let dynamic_pair = Model::of(Dynamic::new(Pair::graph().clone())?, 1, &options)?;
            let counted = requests(|| dynamic_pair.forward([("right", &right), ("left", &left)]).map(drop))?;
            assert_eq!(counted, 2 * 20, "two outputs of a dynamic network, {case}");
            let dynamic = Model::of(Dynamic::new(Small::graph().clone())?, 1, &options)?;
            let counted = requests(|| dynamic.forward(&images)?.single().map(drop))?;
            assert_eq!(counted, 20, "forward of a dynamic network, {case}");
            let counted = requests(|| dynamic.forward_into(&images, &mut [&mut scores]))?;
            assert_eq!(counted, 0, "forward_into of a dynamic network, {case}");

            let frames = ndarray::Array3::from_elem((batch, 7, 4), 0.5);
            let tagger: Model<Tagger> = Model::with_options(1, &options)?;
            let mut tags = vec![0.0; batch * 7 * 3];
            let counted = requests(|| tagger.forward_into(&frames, &mut [&mut tags]))?;
            assert_eq!(counted, 0, "sequences, {case}");
            let steps: Vec<i32> = (0..batch as i32 * 7).map(|step| step % 3).collect();
            let mut trainer = Trainer::new(tagger, TrainerOptions::default())?;
            let counted = requests(|| trainer.step(&frames, &steps).map(drop))?;
            assert_eq!(counted, 0, "training step on sequences, {case}");

            let tokens = ndarray::Array2::from_elem((batch, 7), 5);
            let words: Model<Words> = Model::with_options(1, &options)?;
            let mut next = vec![0.0; batch * 7 * 9];
            let counted = requests(|| words.forward_into(&tokens, &mut [&mut next]))?;
            assert_eq!(counted, 0, "tokens, {case}");
            let mut trainer = Trainer::new(words, TrainerOptions::default())?;
            let counted = requests(|| trainer.step(&tokens, &tokens).map(drop))?;
            assert_eq!(counted, 0, "training step on tokens, {case}");

            let listener: Model<Listener> = Model::with_options(1, &options)?;
            let counted = requests(|| listener.forward_into(&frames, &mut [&mut tags]))?;
            assert_eq!(counted, 0, "recurrent layers, {case}");
            let streaming = listener.streaming()?;
            let mut stream = streaming.stream(batch)?;
            let frame = vec![0.5; batch * 4];
            let tag = &mut vec![0.0; batch * 3];
            let counted = requests(|| stream.run(&[Binding::Floats(&frame)], &mut [tag]))?;
            assert_eq!(counted, 0, "a step of a stream, {case}");
            let mut trainer = Trainer::new(listener, TrainerOptions::default())?;
            let counted = requests(|| trainer.step(&frames, &steps).map(drop))?;
            assert_eq!(counted, 0, "training step of recurrent layers, {case}");
            let carrying = TrainerOptions::default().carry_states(true);
            let mut trainer = Trainer::new(trainer.into_model(), carrying)?;
            let counted = requests(|| trainer.step(&frames, &steps).map(drop))?;
            assert_eq!(counted, 0, "training step that carries states, {case}");
            let counted = requests(|| {
                trainer.reset_states();
                trainer.step(&frames, &steps).map(drop)
            })?;
            assert_eq!(counted, 0, "training step that begins new sequences, {case}");

            let predictor: Predictor<Small> = Model::with_options(1, &options)?.into_predictor()?;
            let counted = requests(|| predictor.forward_into(&images, &mut [&mut scores]))?;
            assert_eq!(counted, 0, "predictor, {case}");

            let labels: Vec<i32> = (0..batch as i32).map(|item| item % 3).collect();
            let training = TrainerOptions::default().optimizer(Optimizer::adam()).clip_norm(1.0);
            let mut trainer = Trainer::new(dynamic, training.clone())?;
            let counted = requests(|| trainer.step(&images, &labels).map(drop))?;
            assert_eq!(counted, 0, "training step of a dynamic network, {case}");
            let mut trainer = Trainer::new(model, training)?;
            let counted = requests(|| trainer.step(&images, &labels).map(drop))?;
            assert_eq!(counted, 0, "training step, {case}");
            assert_eq!(trainer.outputs().len(), batch * 3);

            // A fit allocates for each epoch, not for each step.
            let mut epoch = |batches: usize| -> Result<usize, windlass::Error> {
                let count = batches * batch;
                let images = ndarray::Array4::from_elem((count, 2, 12, 12), 0.5);
                let labels: Vec<i32> = (0..count as i32).map(|item| item % 3).collect();
                let data = TensorDataset::new(images, labels)?;
                let (data, trained) = (data.in_order(batch)?, trainer.history().epochs.len() as u64);
                let fit = |epochs| FitOptions::epochs(epochs).progress(Progress::Silent);
                trainer.fit(&data, &(), fit(trained + 1))?;
                let before = REQUESTS.load(Ordering::Relaxed);
                trainer.fit(&data, &(), fit(trained + 2))?;
                Ok(REQUESTS.load(Ordering::Relaxed) - before)
            };
            // The history grows meanwhile, so that the later one may not ask for less.
            let many = epoch(40)?;
            assert!(epoch(2)? >= many, "a fit of 40 steps asks for memory {many} times, {case}");
        }
    }
    Ok(())
}
