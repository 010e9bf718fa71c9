//! Measures a server: how many samples a second 1 to 16 threads get from one shared predictor, by default, with one thread
//! for each run, and with requests gathered into batches. `cargo bench --bench callers` prints a table.

#[path = "../examples/failure/mod.rs"]
mod failure;
#[path = "support/table.rs"]
mod table;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use windlass::{Batching, Model, Options, Predictor, network};

network! {
    /// LeNet for grey images of 28×28.
    network LeNet(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        flatten;
        linear(120); sigmoid; linear(84); sigmoid; linear(10)
    }
}

/// Times a shared predictor under concurrent callers.
#[derive(Parser)]
struct Arguments {
    /// Samples in each request.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The numbers of callers.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    callers: Vec<usize>,
    /// Seconds for each figure of each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Rounds, in which all contenders are measured in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Samples in a gathered batch.
    #[arg(long, default_value_t = 256)]
    most: usize,
    /// Microseconds that a request waits for others.
    #[arg(long, default_value_t = 200)]
    wait: u64,
    /// Passed by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // Under `cargo test`, whose arguments are for other tests, everything runs once.
    let arguments = match std::env::args().any(|argument| argument == "--bench") {
        true => Ok(Arguments::parse()),
        false => {
            Arguments::try_parse_from(["callers", "--callers=1,2", "--seconds=0", "--rounds=1", "--batch=2"])
        }
    };
    failure::exit_code(arguments.map_err(Into::into).and_then(|arguments| run(&arguments)))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let predictor = |options: &Options| -> Result<Predictor<LeNet>, windlass::Error> {
        Model::<LeNet>::with_options(1, options)?.into_predictor()
    };
    let default = predictor(&Options::default())?;
    let serial = predictor(&Options::default().threads(1))?;
    let gathered: Batching<LeNet> =
        predictor(&Options::default())?.batching(arguments.most, Duration::from_micros(arguments.wait))?;

    let images = vec![0.5f32; arguments.batch * 28 * 28];
    let by_default = || default.forward(&images).map(drop);
    let on_one_thread = || serial.forward(&images).map(drop);
    let in_batches = || gathered.forward(&images).map(drop);
    let contenders: [(&str, &Request<'_>); 3] =
        [("default", &by_default), ("threads(1)", &on_one_thread), ("batching", &in_batches)];

    let mut rates = vec![vec![Vec::new(); contenders.len()]; arguments.callers.len()];
    for _ in 0..arguments.rounds {
        for (&callers, rates) in arguments.callers.iter().zip(&mut rates) {
            for ((_, request), rates) in contenders.iter().zip(rates) {
                let requests = measure(callers, Duration::try_from_secs_f64(arguments.seconds)?, request)?;
                rates.push(requests * arguments.batch as f64);
            }
        }
    }
    let header: Vec<&str> = ["callers"].into_iter().chain(contenders.iter().map(|(name, _)| *name)).collect();
    let rows = arguments.callers.iter().zip(rates).map(|(callers, rates)| {
        [callers.to_string()].into_iter().chain(rates.into_iter().map(in_words)).collect()
    });
    println!(
        "samples/s: median (least to most) of {} rounds, {} samples a request",
        arguments.rounds, arguments.batch
    );
    table::print_table(0, &header, rows.collect());
    Ok(())
}

/// A request of a caller.
type Request<'r> = dyn Fn() -> Result<(), windlass::Error> + Sync + 'r;

/// The number of requests a second that some callers get.
fn measure(callers: usize, time: Duration, request: &Request<'_>) -> Result<f64, windlass::Error> {
    let (barrier, is_over, requests) = (Barrier::new(callers + 1), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let caller = || -> Result<(), windlass::Error> {
            let warm = request();
            barrier.wait();
            warm?;
            loop {
                request()?;
                requests.fetch_add(1, Ordering::Relaxed);
                if is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        };
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        barrier.wait();
        let start = Instant::now();
        thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(requests.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
    })
}

fn in_words(mut rates: Vec<f64>) -> String {
    rates.sort_by(f64::total_cmp);
    let middle = rates.get(rates.len() / 2).copied().unwrap_or_default();
    let (least, most) =
        (rates.first().copied().unwrap_or_default(), rates.last().copied().unwrap_or_default());
    format!("{middle:.0} ({least:.0} to {most:.0})")
}
