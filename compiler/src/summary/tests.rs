use super::{ReceptiveField, Row, Summary, summary};
use crate::error::GraphError;
use crate::graph::{Builder, Graph, Layer};
use crate::ops::window::{Sides, Window};
use crate::pass::{Mode, PassOptions, optimize};

fn lenet() -> Result<Graph, GraphError> {
    let mut b = Builder::new("LeNet");
    let x = b.input("image", &[1, 28, 28])?;
    let x = b.layer("c1", &Layer::conv(6, Window::square(5, 1, 2)), x)?;
    let x = b.layer("c1", &Layer::Sigmoid, x)?;
    let x = b.layer("s2", &Layer::avg_pool(Window::square(2, 2, 0)), x)?;
    let x = b.layer("c3", &Layer::conv(16, Window::square(5, 1, 0)), x)?;
    let x = b.layer("c3", &Layer::Sigmoid, x)?;
    let x = b.layer("s4", &Layer::avg_pool(Window::square(2, 2, 0)), x)?;
    let x = b.layer("", &Layer::Flatten, x)?;
    let x = b.layer("f5", &Layer::linear(120), x)?;
    let x = b.layer("f5", &Layer::Sigmoid, x)?;
    let x = b.layer("f6", &Layer::linear(84), x)?;
    let x = b.layer("f6", &Layer::Sigmoid, x)?;
    let x = b.layer("output", &Layer::linear(10), x)?;
    b.output("logits", x)?;
    b.finish()
}

fn row<'a>(summary: &'a Summary, label: &str) -> &'a Row {
    summary.rows.iter().find(|row| row.label == label).unwrap()
}

#[test]
fn lenet_has_its_known_numbers() {
    let summary = summary(&lenet().unwrap());
    let parameters = (6 * 25 + 6) + (16 * 6 * 25 + 16) + (120 * 400 + 120) + (84 * 120 + 84) + (10 * 84 + 10);
    let multiply_adds = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10;
    assert_eq!((parameters, multiply_adds), (61_706, 416_520));
    assert_eq!(summary.totals.parameters, parameters);
    assert_eq!(summary.totals.parameter_bytes, 4 * parameters);
    assert_eq!(summary.totals.multiply_adds, multiply_adds);
    assert_eq!(summary.totals.state, 0);
    // Bias and sigmoid work in place.
    let products = 6 * 28 * 28 + 16 * 10 * 10 + 120 + 84 + 10;
    let pools = 6 * 14 * 14 + 16 * 5 * 5;
    assert_eq!(summary.totals.activation_bytes, 4 * (products + pools));
}

#[test]
fn lenet_prints_as_a_table() {
    let expected = "\
LeNet
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
 layer    operators                 output            parameters   multiply-adds   receptive field     memory
══════════════════════════════════════════════════════════════════════════════════════════════════════════════
 image    input                     [N, 1, 28, 28]             -               -               1×1          -
 c1       conv + bias + sigmoid     [N, 6, 28, 28]           156         117,600               5×5   18.4 KiB
 s2       avg_pool                  [N, 6, 14, 14]             -               -               6×6    4.6 KiB
 c3       conv + bias + sigmoid     [N, 16, 10, 10]        2,416         240,000             14×14    6.2 KiB
 s4       avg_pool                  [N, 16, 5, 5]              -               -             16×16    1.6 KiB
          reshape                   [N, 400]                   -               -                 -          -
 f5       linear + bias + sigmoid   [N, 120]              48,120          48,000                 -      480 B
 f6       linear + bias + sigmoid   [N, 84]               10,164          10,080                 -      336 B
 output   linear + bias             [N, 10]                  850             840                 -       40 B
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
 parameters     61,706 (241.0 KiB)
 multiply-adds  416,520 per item
 activations    31.6 KiB per item";
    let printed = summary(&lenet().unwrap()).to_string();
    assert_eq!(printed, expected, "\n{printed}");
}

#[test]
fn a_row_collects_the_operators_of_its_label() {
    let summary = summary(&lenet().unwrap());
    let labels: Vec<&str> = summary.rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["image", "c1", "s2", "c3", "s4", "", "f5", "f6", "output"]);
    let c1 = row(&summary, "c1");
    assert_eq!(c1.operators, ["conv", "bias", "sigmoid"]);
    assert_eq!(c1.output.item(), [6, 28, 28]);
    assert_eq!(c1.parameters, 6 * 25 + 6);
    assert_eq!(c1.multiply_adds, 28 * 28 * 6 * 25);
    assert_eq!(c1.output_bytes, 4 * 6 * 28 * 28);
    assert_eq!(summary.rows[5].output_bytes, 0, "a reshaped value is no new one");
}

#[test]
fn a_fused_graph_has_the_same_summary() {
    let graph = lenet().unwrap();
    let fused = optimize(&graph, Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
    assert!(fused.nodes().len() < graph.nodes().len());
    assert_eq!(summary(&fused), summary(&graph));
}

#[test]
fn a_value_needed_elsewhere_is_not_overwritten() {
    let mut b = Builder::new("residual");
    let x = b.input("x", &[8]).unwrap();
    let y = b.layer("f", &Layer::linear(8), x).unwrap();
    let relu = b.layer("relu", &Layer::Relu, y).unwrap();
    let sum = b.add("sum", y, relu).unwrap();
    b.output("y", sum).unwrap();
    let summary = summary(&b.finish().unwrap());
    let bytes: Vec<u64> = summary.rows.iter().map(|row| row.output_bytes).collect();
    assert_eq!(bytes, [0, 32, 32, 0], "the sum takes the place of `relu`, and `relu` that of nothing");
}

#[test]
fn receptive_fields_of_a_vgg_like_stack() {
    let mut b = Builder::new("vgg");
    let mut x = b.input("image", &[3, 32, 32]).unwrap();
    for (label, layer) in [
        ("conv1_1", Layer::conv(8, Window::square(3, 1, 1))),
        ("conv1_2", Layer::conv(8, Window::square(3, 1, 1))),
        ("pool1", Layer::max_pool(Window::square(2, 2, 0))),
        ("conv2_1", Layer::conv(8, Window::square(3, 1, 1))),
        ("conv2_2", Layer::conv(8, Window::square(3, 1, 1))),
        ("pool2", Layer::max_pool(Window::square(2, 2, 0))),
        ("relu", Layer::Relu),
        ("flatten", Layer::Flatten),
        ("classifier", Layer::linear(10)),
    ] {
        x = b.layer(label, &layer, x).unwrap();
    }
    b.output("logits", x).unwrap();
    let summary = summary(&b.finish().unwrap());
    let fields: Vec<Option<usize>> =
        summary.rows.iter().map(|row| row.receptive_field.as_ref().map(|axes| axes[0].size)).collect();
    // Stride 1: 1, 1+2, 3+2; the pool adds 1 and doubles the stride: 6, 6+2·2, 10+2·2; the second adds 2: 16.
    let expected = [1, 3, 5, 6, 10, 14, 16, 16].map(Some);
    assert_eq!(fields, [&expected[..], &[None, None]].concat());
    // The argmax indices are only used by gradients: here nothing uses them.
    assert_eq!(row(&summary, "pool1").output_bytes, 4 * 8 * 16 * 16);
}

#[test]
fn dilation_widens_a_field_and_joined_paths_take_the_larger() {
    let mut b = Builder::new("paths");
    let x = b.input("image", &[4, 16, 16]).unwrap();
    let dilated =
        Window { dilation: vec![3, 2], padding: vec![3.into(), 2.into()], ..Window::square(3, 1, 0) };
    let wide = b.layer("wide", &Layer::conv(4, dilated), x).unwrap();
    let narrow = b.layer("narrow", &Layer::conv(4, Window::square(1, 1, 0)), x).unwrap();
    let sum = b.add("sum", wide, narrow).unwrap();
    let joined = b.concat("joined", &[narrow, sum]).unwrap();
    let mean = b.layer("mean", &Layer::GlobalAvgPool { axes: 2 }, joined).unwrap();
    b.output("y", mean).unwrap();
    let summary = summary(&b.finish().unwrap());
    let field = |label| -> Vec<usize> {
        row(&summary, label).receptive_field.iter().flatten().map(|axis| axis.size).collect()
    };
    assert_eq!(field("wide"), [7, 5]);
    assert_eq!(field("narrow"), [1, 1]);
    assert_eq!(field("sum"), [7, 5]);
    assert_eq!(field("joined"), [7, 5]);
    assert_eq!(field("mean"), [7 + 15, 5 + 15]);
}

#[test]
fn state_is_no_parameter_and_a_shared_parameter_counts_once() {
    let graph: Graph = r#"graph shared {
      %x = input {name = "x", type = "f32[N, 3]"}
      %w = parameter {name = "w", shape = "[3, 3]", init = "xavier_uniform"}
      %g = parameter {name = "g", shape = "[3]", init = {constant = 1.0}}
      %b = parameter {name = "b", shape = "[3]", init = {constant = 0.0}}
      %m = state {name = "m", shape = "[3]", init = {constant = 0.0}}
      %v = state {name = "v", shape = "[3]", init = {constant = 1.0}}
      %1 = linear(%x, %w) @first
      %2 = linear(%1, %w) @second
      %3 = batch_norm(%2, %g, %b, %m, %v) {epsilon = 1e-5, momentum = 0.1} @norm
      output "y" = %3
    }"#
    .parse()
    .unwrap();
    let summary = summary(&graph);
    let counts: Vec<(u64, u64)> = summary.rows.iter().map(|row| (row.parameters, row.state)).collect();
    assert_eq!(counts, [(0, 0), (9, 0), (0, 0), (6, 6)]);
    assert_eq!((summary.totals.parameters, summary.totals.state), (15, 6));
    assert_eq!(summary.totals.multiply_adds, 18);
}

#[test]
fn a_summary_serialises_as_data() {
    let summary = summary(&lenet().unwrap());
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["rows"][1]["label"], "c1");
    let axis = serde_json::json!({"size": 5, "jump": 1, "start": 0.5});
    assert_eq!(json["rows"][1]["receptive_field"], serde_json::json!([axis, axis]));
    assert_eq!(json["rows"][8]["receptive_field"], serde_json::Value::Null);
    assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
}

#[test]
fn jump_and_start_follow_strides_and_padding() {
    let mut b = Builder::new("strided");
    let mut x = b.input("image", &[1, 31, 31]).unwrap();
    let dilated = Window { dilation: vec![2, 2], ..Window::square(3, 2, 1) };
    for (label, layer) in [
        ("c1", Layer::conv(2, Window::square(3, 2, 1))),
        ("c2", Layer::conv(2, dilated)),
        ("p3", Layer::max_pool(Window::square(2, 2, 0))),
    ] {
        x = b.layer(label, &layer, x).unwrap();
    }
    b.output("y", x).unwrap();
    let summary = summary(&b.finish().unwrap());
    let field = |label| row(&summary, label).receptive_field.clone().unwrap()[1];
    // Centres of fields, counted by hand: c1 sees -1..2 around 0.5. c2 sees 5 of its elements 2 apart, the first in its
    // padding: -2, 0, ..., 6 around 2.5. p3 takes the mean of two centres 4 apart.
    let expected = [("image", 1, 1, 0.5), ("c1", 3, 2, 0.5), ("c2", 11, 4, 2.5), ("p3", 15, 8, 4.5)];
    for (label, size, jump, start) in expected {
        assert_eq!(field(label), ReceptiveField { size, jump, start }, "{label}");
    }
}

#[test]
fn a_bottleneck_takes_an_eighth_of_the_time() {
    let complexity = |layers: &[(usize, usize)]| {
        let mut b = Builder::new("net");
        let mut x = b.input("x", &[256, 100, 100]).unwrap();
        for (index, &(size, channels)) in layers.iter().enumerate() {
            let window = Window::square(size, 1, (size - 1) / 2);
            x = b.layer(&format!("c{index}"), &Layer::conv(channels, window), x).unwrap();
            x = b.layer(&format!("c{index}"), &Layer::Relu, x).unwrap();
        }
        b.output("y", x).unwrap();
        summary(&b.finish().unwrap())
    };
    let (area, wide) = (100 * 100, complexity(&[(3, 256)]));
    assert_eq!(row(&wide, "c0").time_complexity(), area * 9 * 256 * 256);
    assert_eq!(row(&wide, "c0").space_complexity(), 9 * 256 * 256 + 256 + area * 256);
    let narrow = complexity(&[(1, 64), (3, 64), (1, 256)]);
    let times = ["c0", "c1", "c2"].map(|label| row(&narrow, label).time_complexity());
    assert_eq!(times, [area * 256 * 64, area * 9 * 64 * 64, area * 64 * 256]);
    assert_eq!(narrow.totals.time_complexity(), 696_320_000);
    let weights = 256 * 64 + 9 * 64 * 64 + 64 * 256 + (64 + 64 + 256);
    assert_eq!(narrow.totals.space_complexity(), weights + area * (64 + 64 + 256));
}

#[test]
fn merged_paths_show_the_larger_field() {
    let mut b = Builder::new("paths");
    let x = b.input("x", &[1, 16, 16]).unwrap();
    let left = b.layer("left", &Layer::conv(1, Window::square(3, 1, 0)), x).unwrap();
    let right = b.layer("right", &Layer::max_pool(Window::square(2, 1, 0)), x).unwrap();
    let right = b.layer("shifted", &Layer::max_pool(Window::square(2, 1, 0)), right).unwrap();
    let after = Window { padding: vec![Sides { before: 0, after: 2 }; 2], ..Window::square(3, 1, 0) };
    let right = b.layer("more", &Layer::conv(1, after), right).unwrap();
    let sum = b.add("sum", left, right).unwrap();
    b.output("y", sum).unwrap();
    let summary = summary(&b.finish().unwrap());
    let field = |label| row(&summary, label).receptive_field.clone().unwrap()[0];
    assert_eq!(field("left"), ReceptiveField { size: 3, jump: 1, start: 1.5 });
    assert_eq!(field("more"), ReceptiveField { size: 5, jump: 1, start: 2.5 });
    assert_eq!(field("sum"), field("more"));
}

#[test]
fn details_print_as_a_table() {
    let mut b = Builder::new("Details");
    let x = b.input("image", &[1, 28, 20]).unwrap();
    let dilated = Window {
        kernel_size: vec![3, 4],
        dilation: vec![2, 1],
        stride: vec![1, 2],
        padding: vec![2.into(), 1.into()],
    };
    let x = b.layer("c1", &Layer::conv(4, dilated), x).unwrap();
    let x = b.layer("c1", &Layer::Relu, x).unwrap();
    let x = b.layer("", &Layer::Flatten, x).unwrap();
    let x = b.layer("f2", &Layer::linear(3), x).unwrap();
    b.output("y", x).unwrap();
    let printed = summary(&b.finish().unwrap()).details();
    let expected = "\
Details
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 layer   window                                  time   space   receptive field     jump      start   same padding
═══════════════════════════════════════════════════════════════════════════════════════════════════════════════════
 image   -                                          -       -               1×1        1        0.5              -
 c1      3×4, stride (1, 2), dilation (2, 1)   13,440   1,172               5×4   (1, 2)   (0.5, 1)    (2, (1, 2))
         -                                          -       -                 -        -          -              -
 f2      -                                      3,360   3,366                 -        -          -              -
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 time   16,800 multiply-adds per item
 space  4,538 numbers, 3,415 of them parameters, per item";
    assert_eq!(printed, expected, "\n{printed}");
}

#[test]
fn every_step_of_a_recurrent_layer_counts() {
    use crate::graph::{Cell, Recurrent, RnnActivation};
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[4, 3]).unwrap();
    let layer = Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, 5);
    let y = builder.layer("r", &Layer::Recurrent(layer), x).unwrap();
    builder.output("y", y).unwrap();
    let summary = summary(&builder.finish().unwrap());
    assert_eq!(summary.totals.multiply_adds, 4 * (3 * 5 + 5 * 5));
}
