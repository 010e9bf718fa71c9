//! Compares large sums with sums in double precision. For any vector width and number of threads, the rounding error
//! must not grow with the number of terms.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Array;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Features, Layouts};
use windlass_runtime::executor::Executor;

use crate::numbers::Sources;
use crate::run::{Results, run};

/// Every available width on one and two threads, with both layouts, and baseline code.
fn variants() -> Vec<CompileOptions> {
    let mut variants = Vec::new();
    let widths = available_vector_bits().into_iter().map(|bits| (Some(bits), Features::Native));
    for (vector_bits, features) in widths.chain([(None, Features::Baseline)]) {
        for (threads, layouts) in [(1, Layouts::ByChannels), (2, Layouts::ChannelsFirst)] {
            let mut options = CompileOptions::default();
            options.plan.vector_bits = vector_bits;
            options.plan.features = features;
            options.plan.threads = threads;
            options.plan.layouts = layouts;
            variants.push(options);
        }
    }
    variants
}

/// Compiles and runs a graph of these lines with every variant, and passes the results to `judge`.
fn each_variant(lines: &str, batch: usize, sources: &Sources, judge: impl Fn(&Results, &str)) {
    let text = format!("graph sums {{\n{lines}\n}}\n");
    let graph: Graph = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    for options in variants() {
        let what = format!(
            "{:?} bits, {:?}, {} threads, {:?}\n{lines}",
            options.plan.vector_bits, options.plan.features, options.plan.threads, options.plan.layouts
        );
        let (program, _) = compile(&graph, Mode::Training, &options, &Dump::none()).unwrap();
        let executor = Executor::new(program).unwrap().parallelize_every_step();
        judge(&run(&executor, batch, sources, 0), &what);
    }
}

/// Fails if a number differs from the exact one by more than a fraction of `scale`.
#[track_caller]
fn expect_near(got: f32, truth: f64, part: f64, scale: f64, what: &str) {
    let error = (f64::from(got) - truth).abs();
    assert!(error <= part * scale, "{got:?} is {:.2e} of {scale:?} off {truth:?}: {what}", error / scale);
}

/// The kind of numbers in a series. If all numbers are equal, all rounding errors have the same sign.
#[derive(Clone, Copy, Debug)]
enum Series {
    Constant,
    /// Between 0 and 1.
    Uniform,
    /// Between −1 and 1.
    Signed,
}

impl Series {
    /// Numbers that are exact in f32.
    fn numbers(self, count: usize) -> Vec<f64> {
        let mut state = 0x2545_F491_4F6C_DD1Du64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        let one = |_| match self {
            Series::Constant => f64::from(0.1f32),
            Series::Uniform => uniform(),
            Series::Signed => f64::from((2.0 * uniform() - 1.0) as f32),
        };
        (0..count).map(one).collect()
    }
}

fn input(name: &str, item: &[usize]) -> String {
    let item: String = item.iter().map(|size| format!(", {size}")).collect();
    format!("%{name} = input {{name = \"{name}\", type = \"f32[N{item}]\"}}")
}

fn parameter(name: &str, sizes: &[usize]) -> String {
    format!("%{name} = parameter {{name = \"{name}\", shape = \"{sizes:?}\", init = \"xavier_uniform\"}}")
}

fn sum(numbers: impl IntoIterator<Item = f64>) -> f64 {
    numbers.into_iter().fold(0.0, |sum, x| sum + x)
}

/// Every `channels`-th run of `inner` numbers, starting with the `channel`-th.
fn channel(numbers: &[f64], channel: usize, channels: usize, inner: usize) -> Vec<f64> {
    numbers.chunks(inner).skip(channel).step_by(channels).flatten().copied().collect()
}

#[test]
fn global_average_pools() {
    for (size, channels) in [(28, 17), (56, 17), (112, 5), (224, 3), (500, 1), (1000, 1)] {
        let lines = format!(
            "{}\n%y = avg_pool(%x) {{kernel_size = [{size}, {size}], stride = [1, 1], padding = [0, 0], dilation = [1, 1]}}\noutput \"y\" = %y",
            input("x", &[channels, size, size])
        );
        for series in [Series::Constant, Series::Uniform] {
            let x = series.numbers(channels * size * size);
            let sources = Sources::from([("x".into(), Array::new([1, channels, size, size], x.clone()))]);
            each_variant(&lines, 1, &sources, |results, what| {
                for (&got, image) in results["y"].iter().zip(x.chunks(size * size)) {
                    let mean = sum(image.iter().copied()) / (size * size) as f64;
                    expect_near(got, mean, 1e-6, mean, what);
                }
            });
        }
    }
}

/// Batch statistics and gradients, of images and of vectors. One channel has equal numbers, for which f32 sums would
/// drift; another is far from zero.
#[test]
fn batch_norm_in_training() {
    const EPSILON: f64 = 1e-5;
    for (batch, inner) in [(16, 112 * 112), (20_000, 1)] {
        let channels = 3;
        let (item, sizes) = match inner {
            1 => (vec![channels], vec![batch, channels]),
            _ => (vec![channels, 112, 112], vec![batch, channels, 112, 112]),
        };
        let lines = [
            input("x", &item),
            input("g", &item),
            parameter("gamma", &[channels]),
            parameter("beta", &[channels]),
            parameter("mean", &[channels]),
            parameter("variance", &[channels]),
            format!("%y, %m, %i, %newmean, %newvariance = batch_norm_training(%x, %gamma, %beta, %mean, %variance) {{epsilon = {EPSILON:e}, momentum = 1.0}}"),
            "%dx, %dgamma, %dbeta = batch_norm_grad(%g, %x, %gamma, %m, %i) {}".to_owned(),
            ["y", "newmean", "newvariance", "dx", "dgamma", "dbeta"]
                .map(|name| format!("output \"{name}\" = %{name}"))
                .join("\n"),
        ]
        .join("\n");
        let count = batch * channels * inner;
        let mut x = Series::Uniform.numbers(count);
        for (index, x) in x.iter_mut().enumerate() {
            match index / inner % channels {
                0 => *x = f64::from(0.1f32),
                1 => {}
                _ => *x = f64::from((10.0 + *x) as f32),
            }
        }
        let g = Series::Signed.numbers(count);
        let numbers = |values: [f64; 3]| Array::new([channels], values.to_vec());
        let sources = Sources::from([
            ("x".into(), Array::new(sizes.clone(), x.clone())),
            ("g".into(), Array::new(sizes, g.clone())),
            ("gamma".into(), numbers([1.5, 1.0, 0.75])),
            ("beta".into(), numbers([0.5, 0.0, -1.0])),
            ("mean".into(), numbers([0.0; 3])),
            ("variance".into(), numbers([1.0; 3])),
        ]);
        each_variant(&lines, batch, &sources, |results, what| {
            for c in 0..channels {
                let what = &format!("channel {c}, {what}");
                let (gamma, beta) = ([1.5, 1.0, 0.75][c], [0.5, 0.0, -1.0][c]);
                let of = |name: &str| {
                    let results: Vec<f64> = results[name].iter().map(|&x| f64::from(x)).collect();
                    channel(&results, c, channels, inner)
                };
                let (x, g) = (channel(&x, c, channels, inner), channel(&g, c, channels, inner));
                let elements = x.len() as f64;
                let mean = sum(x.iter().copied()) / elements;
                let squares = sum(x.iter().map(|x| (x - mean).powi(2)));
                // The reference's own rounding must not count as a deviation.
                let squares = if c == 0 { 0.0 } else { squares };
                let inverse = 1.0 / (squares / elements + EPSILON).sqrt();
                let normal: Vec<f64> =
                    x.iter().map(|x| if c == 0 { 0.0 } else { (x - mean) * inverse }).collect();
                let of_gamma = sum(g.iter().zip(&normal).map(|(g, x)| g * x));
                let of_beta = sum(g.iter().copied());
                let magnitude = sum(g.iter().map(|g| g.abs()));
                expect_near(results["newmean"][c], mean, 2e-7, mean, what);
                let variance = squares / (elements - 1.0);
                expect_near(results["newvariance"][c], variance, 1e-6, variance.max(1e-8), what);
                expect_near(results["dgamma"][c], of_gamma, 1e-6, magnitude, what);
                expect_near(results["dbeta"][c], of_beta, 1e-6, magnitude, what);
                if c == 0 {
                    assert_eq!(results["dgamma"][c], 0.0, "{what}");
                }
                for (got, normal) in of("y").into_iter().zip(&normal) {
                    expect_near(got as f32, gamma * normal + beta, 1e-5, 1.0, what);
                }
                for ((got, normal), g) in of("dx").into_iter().zip(&normal).zip(&g) {
                    let expected = gamma * inverse * (g - of_beta / elements - normal * of_gamma / elements);
                    expect_near(got as f32, expected, 1e-5, gamma * inverse, what);
                }
            }
        });
    }
}

/// The gradient of a bias for images and vectors, large and small.
#[test]
fn sums_of_channels() {
    for (batch, item) in [
        (7, vec![6, 35, 35]),
        (7, vec![33, 35, 35]),
        (3, vec![2, 300, 301]),
        (200, vec![19, 5]),
        (100_000, vec![3]),
        (65, vec![40]),
    ] {
        let lines = format!("{}\n%y = sum_channels(%x)\noutput \"y\" = %y", input("x", &item));
        let (channels, inner) = (item[0], item[1..].iter().product());
        for series in [Series::Constant, Series::Uniform, Series::Signed] {
            let x = series.numbers(batch * channels * inner);
            let sizes: Vec<usize> = [batch].iter().chain(&item).copied().collect();
            let sources = Sources::from([("x".into(), Array::new(sizes, x.clone()))]);
            each_variant(&lines, batch, &sources, |results, what| {
                for (c, &got) in results["y"].iter().enumerate() {
                    let x = channel(&x, c, channels, inner);
                    let scale = sum(x.iter().map(|x| x.abs()));
                    expect_near(got, sum(x), 1e-6, scale, what);
                }
            });
        }
    }
}

/// If a sum overflows or contains NaN, the result is that of ordinary additions.
#[test]
fn sums_that_are_not_finite() {
    for inner in [1, 130, 1000] {
        let channels = 4;
        let batch = if inner == 1 { 1000 } else { 3 };
        let lines = format!("{}\n%y = sum_channels(%x)\noutput \"y\" = %y", input("x", &[channels, inner]));
        let mut x = vec![0.0; batch * channels * inner];
        for (index, x) in x.iter_mut().enumerate() {
            let (item, c, place) = (index / inner / channels, index / inner % channels, index % inner);
            let is_first = item == 0 && place == 0;
            *x = match c {
                0 => f64::from(f32::MAX),
                1 if is_first => f64::NEG_INFINITY,
                2 if is_first => f64::NAN,
                3 if is_first => f64::INFINITY,
                3 if item == batch - 1 && place == inner - 1 => f64::NEG_INFINITY,
                _ => 1.0,
            };
        }
        let sources = Sources::from([("x".into(), Array::new([batch, channels, inner], x))]);
        each_variant(&lines, batch, &sources, |results, what| {
            let y = &results["y"];
            assert_eq!(y[..2], [f32::INFINITY, f32::NEG_INFINITY], "{what}");
            assert!(y[2].is_nan() && y[3].is_nan(), "{y:?}: {what}");
        });
    }
}

#[test]
fn losses_over_large_batches() {
    const BATCH: usize = 100_000;
    let lines = format!(
        "{}\n{}\n%labels = input {{name = \"labels\", type = \"i32[N]\"}}\n%squared = mean_squared_error(%x, %t)\n%crossed = cross_entropy(%x, %labels)\noutput \"squared\" = %squared\noutput \"crossed\" = %crossed",
        input("x", &[2]),
        input("t", &[2]),
    );
    for series in [Series::Constant, Series::Signed] {
        let x = series.numbers(2 * BATCH);
        let sources = Sources::from([
            ("x".into(), Array::new([BATCH, 2], x.clone())),
            ("t".into(), Array::new([BATCH, 2], vec![1.25; 2 * BATCH])),
            ("labels".into(), Array::ints([BATCH], vec![1; BATCH])),
        ]);
        let squared = sum(x.iter().map(|x| (x - 1.25).powi(2))) / (2 * BATCH) as f64;
        let crossed = sum(x.chunks(2).map(|x| (x[0].exp() + x[1].exp()).ln() - x[1])) / BATCH as f64;
        each_variant(&lines, BATCH, &sources, |results, what| {
            expect_near(results["squared"][0], squared, 1e-6, squared, what);
            expect_near(results["crossed"][0], crossed, 1e-6, crossed, what);
        });
    }
}

/// Images with many channels computed within a network: the loss, and the sums of pixels beside it.
#[test]
fn losses_and_sums_over_large_images() {
    const CHANNELS: usize = 17;
    const SIZE: usize = 300;
    let lines = format!(
        "{}\n{}\n%y = unary(%x) {{kind = \"negate\"}}\n%loss = mean_squared_error(%y, %t)\n%sums = reduce(%y) {{kind = \"sum\", axis = 2, count = 2}}\noutput \"loss\" = %loss\noutput \"sums\" = %sums",
        input("x", &[CHANNELS, SIZE, SIZE]),
        input("t", &[CHANNELS, SIZE, SIZE]),
    );
    for series in [Series::Constant, Series::Signed] {
        let count = CHANNELS * SIZE * SIZE;
        let x = series.numbers(count);
        let sizes = [1, CHANNELS, SIZE, SIZE];
        let sources = Sources::from([
            ("x".into(), Array::new(sizes, x.clone())),
            ("t".into(), Array::new(sizes, vec![1.25; count])),
        ]);
        let loss = sum(x.iter().map(|x| (-x - 1.25).powi(2))) / count as f64;
        each_variant(&lines, 1, &sources, |results, what| {
            expect_near(results["loss"][0], loss, 1e-6, loss, what);
            for (index, &got) in results["sums"].iter().enumerate() {
                let own = channel(&x, index, CHANNELS, SIZE * SIZE);
                let (truth, scale) = (sum(own.iter().map(|x| -x)), sum(own.iter().map(|x| x.abs())));
                expect_near(got, truth, 1e-6, scale, what);
            }
        });
    }
}

#[test]
fn norms_of_gradients() {
    let sizes = [1_000_003, 17, 250_000];
    let names = ["a", "b", "c"];
    let mut lines: Vec<String> =
        names.iter().zip(sizes).map(|(name, size)| parameter(name, &[size])).collect();
    lines.push("%factor, %norm = clip_factor(%a, %b, %c) {max_norm = 1.0}\noutput \"norm\" = %norm".into());
    lines.push("output \"factor\" = %factor".into());
    for series in [Series::Constant, Series::Signed] {
        let numbers = sizes.map(|size| series.numbers(size));
        let sources: Sources = names
            .iter()
            .zip(&numbers)
            .map(|(name, numbers)| ((*name).to_owned(), Array::new([numbers.len()], numbers.clone())))
            .collect();
        let norm = sum(numbers.iter().flatten().map(|x| x * x)).sqrt();
        each_variant(&lines.join("\n"), 1, &sources, |results, what| {
            expect_near(results["norm"][0], norm, 1e-6, norm, what);
            expect_near(results["factor"][0], 1.0 / (norm + 1e-6), 1e-6, 1.0 / norm, what);
        });
    }
}

#[test]
fn softmax_over_many_classes() {
    const CLASSES: usize = 100_000;
    const BATCH: usize = 2;
    let lines = format!(
        "{}\n{}\n%labels = input {{name = \"labels\", type = \"i32[N]\"}}\n%y = softmax(%x)\n%log = log_softmax(%x)\n%dx = softmax_grad(%g, %y)\n%loss = cross_entropy(%x, %labels)\noutput \"y\" = %y\noutput \"log\" = %log\noutput \"dx\" = %dx\noutput \"loss\" = %loss",
        input("x", &[CLASSES]),
        input("g", &[CLASSES]),
    );
    for series in [Series::Constant, Series::Signed] {
        let (x, g) = (series.numbers(BATCH * CLASSES), Series::Uniform.numbers(BATCH * CLASSES));
        let sources = Sources::from([
            ("x".into(), Array::new([BATCH, CLASSES], x.clone())),
            ("g".into(), Array::new([BATCH, CLASSES], g.clone())),
            ("labels".into(), Array::ints([BATCH], vec![7; BATCH])),
        ]);
        let logarithms: Vec<f64> = x.chunks(CLASSES).map(|x| sum(x.iter().map(|x| x.exp())).ln()).collect();
        let loss = sum((0..BATCH).map(|item| logarithms[item] - x[item * CLASSES + 7])) / BATCH as f64;
        each_variant(&lines, BATCH, &sources, |results, what| {
            expect_near(results["loss"][0], loss, 1e-6, loss, what);
            for (item, logarithm) in logarithms.iter().enumerate() {
                let range = item * CLASSES..(item + 1) * CLASSES;
                let (x, g) = (&x[range.clone()], &g[range.clone()]);
                let y: Vec<f64> = x.iter().map(|x| (x - logarithm).exp()).collect();
                let along = sum(y.iter().zip(g).map(|(y, g)| y * g));
                for (place, index) in range.enumerate() {
                    let (y, log) = (y[place], x[place] - logarithm);
                    expect_near(results["y"][index], y, 1e-6, y, what);
                    expect_near(results["log"][index], log, 1e-6, log.abs(), what);
                    expect_near(results["dx"][index], y * (g[place] - along), 2e-6, y, what);
                }
            }
        });
    }
}

/// Gradients of weights over many pixels of many samples, for dense and depthwise convolutions.
#[test]
fn weight_gradients_with_many_terms() {
    for (batch, channels, size, kernel, groups) in
        [(16, 3, 112, 1, 1), (16, 3, 112, 1, 3), (4, 16, 112, 3, 1), (4, 16, 112, 3, 16)]
    {
        let (outputs, inputs) = (size - kernel + 1, channels / groups);
        let lines = [
            input("x", &[channels, size, size]),
            input("g", &[channels, outputs, outputs]),
            format!("%dw = conv_grad_weight(%g, %x) {{kernel_size = [{kernel}, {kernel}], stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = {groups}}}"),
            "output \"dw\" = %dw".to_owned(),
        ]
        .join("\n");
        let x = Series::Uniform.numbers(batch * channels * size * size);
        let g = Series::Uniform.numbers(batch * channels * outputs * outputs);
        let sources = Sources::from([
            ("x".into(), Array::new([batch, channels, size, size], x.clone())),
            ("g".into(), Array::new([batch, channels, outputs, outputs], g.clone())),
        ]);
        // The last column of the window's first row, from the last input of the second output's group.
        let (output, column) = (1, kernel - 1);
        let channel = output / (channels / groups) * inputs + inputs - 1;
        let mut truth = 0.0;
        for item in 0..batch {
            for row in 0..outputs {
                let g = &g[((item * channels + output) * outputs + row) * outputs..][..outputs];
                let x = &x[((item * channels + channel) * size + row) * size + column..][..outputs];
                truth += sum(g.iter().zip(x).map(|(g, x)| g * x));
            }
        }
        let place = (output * inputs + inputs - 1) * kernel * kernel + column;
        each_variant(&lines, batch, &sources, |results, what| {
            expect_near(results["dw"][place], truth, 1e-6, truth, what);
        });
    }
}
