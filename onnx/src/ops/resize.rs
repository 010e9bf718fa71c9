//! Resizing of images: each axis by a matrix whose rows are the weights of a result.

use windlass_compiler::graph::{Interpolation, Layer};
use windlass_compiler::ops::elementwise::BinaryKind;
use windlass_compiler::shape::Dim;

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::node::Node;
use crate::value::{Batch, Value};

pub(super) const RULES: &[(&str, Rule)] = &[("Resize", resize), ("Upsample", upsample)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// How an axis is resized.
struct Method<'n> {
    mode: Mode,
    transform: &'n str,
    nearest: &'n str,
    antialias: bool,
    exclude_outside: bool,
    cubic: f64,
    extrapolation: f32,
}

/// The size of an axis before and after, its scale, and its part of the region of interest.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
    region: [f64; 2],
}

fn choose<'n>(
    node: &Node<'n>,
    name: &'static str,
    default: &'static str,
    known: &[&str],
) -> Result<&'n str, Reason> {
    let value = node.text(name).unwrap_or(default);
    match known.contains(&value) {
        true => Ok(value),
        false => {
            let needed = format!("it must be one of {}", known.join(", "));
            Err(Reason::AttributeValue { name, value: value.to_owned(), needed })
        }
    }
}

fn resize<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let rank = value.rank();
    let (scales_at, sizes_at) = if node.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let transforms = [
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ];
    let rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
    let (transform, nearest) = if node.opset < 11 {
        ("asymmetric", "floor")
    } else {
        let transform = choose(node, "coordinate_transformation_mode", "half_pixel", &transforms)?;
        (transform, choose(node, "nearest_mode", "round_prefer_floor", &rounding)?)
    };
    let rule = Method {
        mode: mode(node)?,
        transform,
        nearest,
        antialias: node.flag("antialias", false),
        exclude_outside: node.flag("exclude_outside", false),
        cubic: f64::from(node.float("cubic_coeff_a", -0.75)),
        extrapolation: node.float("extrapolation_value", 0.0),
    };
    let axes = match node.axes(usize::MAX, rank)? {
        Some(axes) => axes,
        None => (0..rank).collect(),
    };
    let policy =
        choose(node, "keep_aspect_ratio_policy", "stretch", &["stretch", "not_larger", "not_smaller"])?;
    let floats = |index: usize| -> Result<Option<Vec<f64>>, Reason> {
        let known = node.optional_known(index)?.filter(|known| known.len() > 0);
        Ok(known.and_then(Known::to_floats).map(|values| values.into_iter().map(f64::from).collect()))
    };
    let region = if transform == "tf_crop_and_resize" { floats(1)? } else { None };
    let inputs = axes.iter().map(|&axis| value.dims()[axis].clone()).collect::<Vec<_>>();
    // Only axes that change need a fixed size.
    let size = |index: usize| inputs[index].fixed();
    let mut all = Vec::with_capacity(axes.len());
    match (floats(scales_at)?, floats(sizes_at)?) {
        (Some(scales), None) if scales.len() == axes.len() => {
            for (index, &scale) in scales.iter().enumerate() {
                let Some(input) = size(index) else {
                    if scale == 1.0 {
                        all.push(None);
                        continue;
                    }
                    return unsupported("it resizes an axis of open size");
                };
                all.push(Some((input, (input as f64 * scale).floor() as usize, scale)));
            }
        }
        (None, Some(sizes)) if sizes.len() == axes.len() => {
            let mut targets = Vec::with_capacity(axes.len());
            for (index, &target) in sizes.iter().enumerate() {
                let Some(input) = size(index) else { return unsupported("it resizes an axis of open size") };
                targets.push((input, target, target / input as f64));
            }
            let scales = targets.iter().map(|(_, _, scale)| *scale);
            let common = match policy {
                "not_larger" => Some(scales.fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(scales.fold(0.0, f64::max)),
                _ => None,
            };
            for (input, target, scale) in targets {
                let (target, scale) = match common {
                    Some(common) => ((common * input as f64 + 0.5).floor(), common),
                    None => (target, scale),
                };
                all.push(Some((input, target as usize, scale)));
            }
        }
        _ => return unsupported("it needs a scale or a size for each of its axes"),
    }
    let mut plan = Vec::new();
    for (index, (&axis, size)) in axes.iter().zip(all).enumerate() {
        let Some((input, output, scale)) = size else { continue };
        if input == 0 || output == 0 || output > 1 << 20 || scale <= 0.0 || scale.is_nan() {
            return unsupported(format!("axis {axis} of size {input} would get the size {output}"));
        }
        let region = match &region {
            Some(region) if region.len() == 2 * axes.len() => [region[index], region[index + axes.len()]],
            Some(_) => return unsupported("its region of interest does not fit its axes"),
            None => [0.0, 1.0],
        };
        if input != output || scale != 1.0 || region != [0.0, 1.0] {
            plan.push((axis, Axis { input, output, scale, region }));
        }
    }
    one(resized(importer, &value, &rule, &plan)?)
}

fn mode(node: &Node<'_>) -> Result<Mode, Reason> {
    match node.text("mode").unwrap_or("nearest") {
        "nearest" => Ok(Mode::Nearest),
        "linear" | "bilinear" => Ok(Mode::Linear),
        "cubic" | "bicubic" => Ok(Mode::Cubic),
        other => {
            let needed = "`nearest`, `linear` or `cubic`".to_owned();
            Err(Reason::AttributeValue { name: "mode", value: other.to_owned(), needed })
        }
    }
}

fn upsample<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let scales = match node.floats("scales") {
        Some(scales) => scales.to_vec(),
        None => node.known(1)?.to_floats().unwrap_or_default(),
    };
    if scales.len() != value.rank() {
        return unsupported("it needs a scale for each axis");
    }
    let rule = Method {
        mode: mode(node)?,
        transform: "asymmetric",
        nearest: "floor",
        antialias: false,
        exclude_outside: false,
        cubic: -0.75,
        extrapolation: 0.0,
    };
    let mut plan = Vec::new();
    for (axis, &scale) in scales.iter().enumerate() {
        if scale == 1.0 {
            continue;
        }
        let (input, scale) = (value.fixed(axis)?, f64::from(scale));
        let output = (input as f64 * scale).floor() as usize;
        if input == 0 || output == 0 || output > 1 << 20 {
            return unsupported(format!("axis {axis} of size {input} would get the size {output}"));
        }
        plan.push((axis, Axis { input, output, scale, region: [0.0, 1.0] }));
    }
    one(resized(importer, &value, &rule, &plan)?)
}

fn resized(
    importer: &mut Importer<'_>,
    value: &Value,
    rule: &Method<'_>,
    plan: &[(usize, Axis)],
) -> Result<Value, Reason> {
    if let Some(upsampled) = upsampled(importer, value, rule, plan)? {
        return Ok(upsampled);
    }
    let mut value = value.clone();
    for &(axis, size) in plan {
        value = match rule.mode {
            Mode::Nearest if rule.transform != "tf_crop_and_resize" => {
                let places: Vec<usize> = (0..size.output).map(|at| nearest(rule, size, at)).collect();
                importer.take(&value, axis, &places)?
            }
            _ => by_matrix(importer, &value, rule, axis, size)?,
        };
    }
    Ok(value)
}

/// Images enlarged by whole factors, as a layer.
fn upsampled(
    importer: &mut Importer<'_>,
    value: &Value,
    rule: &Method<'_>,
    plan: &[(usize, Axis)],
) -> Result<Option<Value>, Reason> {
    let Value::Data(data) = value else { return Ok(None) };
    let axes = data.dims.len().saturating_sub(2);
    let is_whole = |axis: &Axis| axis.output.is_multiple_of(axis.input) && axis.output <= 64 * axis.input;
    let is_plain = plan.iter().all(|(axis, size)| {
        *axis >= 2
            && is_whole(size)
            && size.scale == (size.output / size.input) as f64
            && data.dims[*axis].fixed().is_some()
    });
    let interpolation = match rule.mode {
        Mode::Nearest => {
            let repeats = |size: &Axis| {
                (0..size.output).all(|at| nearest(rule, *size, at) == at / (size.output / size.input))
            };
            if !is_plain || !plan.iter().all(|(_, size)| repeats(size)) {
                return Ok(None);
            }
            Interpolation::Nearest
        }
        Mode::Linear if matches!(rule.transform, "half_pixel" | "pytorch_half_pixel") && is_plain => {
            // A result of one element is in the middle for the one, and before the first for the other.
            if plan.iter().any(|(_, size)| size.output == 1) {
                return Ok(None);
            }
            Interpolation::Linear
        }
        _ => return Ok(None),
    };
    if axes == 0 || plan.is_empty() || data.dims[2..].iter().any(|dim| dim.fixed().is_none()) {
        return Ok(None);
    }
    let data = importer.folded(data)?;
    if data.batch != Batch::Axis(0) {
        return Ok(None);
    }
    let mut factor = vec![1; axes];
    let mut dims = data.dims.clone();
    for (axis, size) in plan {
        factor[axis - 2] = size.output / size.input;
        dims[*axis] = Dim::Fixed(size.output);
    }
    let label = importer.label.clone();
    let layer = Layer::Upsample { factor, mode: interpolation };
    match importer.builder.layer(&label, &layer, data.value) {
        Ok(value) => Ok(Some(data.with(value, dims).into())),
        // Too many channels for its weights.
        Err(_) => Ok(None),
    }
}

/// The place of a result in the input.
fn place(rule: &Method<'_>, size: Axis, at: usize) -> f64 {
    let (input, output, at) = (size.input as f64, size.output as f64, at as f64);
    // Positions are those of the exact size, which may be fractional.
    let exact = input * size.scale;
    match rule.transform {
        "align_corners" if size.output == 1 => 0.0,
        "align_corners" => at * (input - 1.0) / (exact - 1.0),
        "asymmetric" => at / size.scale,
        "pytorch_half_pixel" if size.output == 1 => -0.5,
        "half_pixel_symmetric" => {
            let adjustment = output / exact;
            input / 2.0 * (1.0 - adjustment) + (at + 0.5) / size.scale - 0.5
        }
        "tf_crop_and_resize" => {
            let [start, end] = size.region;
            let inner = match size.output {
                1 => (end - start) * (input - 1.0) / 2.0,
                _ => at * (end - start) * (input - 1.0) / (output - 1.0),
            };
            inner + start * (input - 1.0)
        }
        _ => (at + 0.5) / size.scale - 0.5,
    }
}

fn nearest(rule: &Method<'_>, size: Axis, at: usize) -> usize {
    let x = place(rule, size, at);
    let rounded = match rule.nearest {
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round_prefer_ceil" => (x + 0.5).floor(),
        _ => (x - 0.5).ceil(),
    };
    rounded.clamp(0.0, (size.input - 1) as f64) as usize
}

/// The weight of an element at a distance.
fn kernel(rule: &Method<'_>, distance: f64) -> f64 {
    let x = distance.abs();
    match rule.mode {
        Mode::Cubic => {
            let a = rule.cubic;
            if x <= 1.0 {
                ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
            } else {
                0.0
            }
        }
        Mode::Linear | Mode::Nearest => (1.0 - x).max(0.0),
    }
}

/// The weights of all elements of the input for one result, or none outside the region of interest.
fn row(rule: &Method<'_>, size: Axis, at: usize) -> Option<Vec<f64>> {
    let x = place(rule, size, at);
    let last = (size.input - 1) as f64;
    if rule.transform == "tf_crop_and_resize" && !(0.0..=last).contains(&x) {
        return None;
    }
    let mut weights = vec![0.0; size.input];
    if rule.mode == Mode::Nearest {
        weights[nearest(rule, size, at)] = 1.0;
        return Some(weights);
    }
    let reach = if rule.mode == Mode::Cubic { 2.0 } else { 1.0 };
    // A smaller image averages over as many elements as it has fewer.
    let scale = if rule.antialias { size.scale.min(1.0) } else { 1.0 };
    let (first, end) = ((x - reach / scale).floor() as i64, (x + reach / scale).ceil() as i64);
    let mut sum = 0.0;
    for index in first..=end {
        let weight = kernel(rule, (index as f64 - x) * scale);
        let is_outside = index < 0 || index > last as i64;
        if is_outside && rule.exclude_outside {
            continue;
        }
        sum += weight;
        weights[index.clamp(0, last as i64) as usize] += weight;
    }
    if rule.exclude_outside || rule.antialias {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    Some(weights)
}

/// An axis times a matrix.
fn by_matrix(
    importer: &mut Importer<'_>,
    value: &Value,
    rule: &Method<'_>,
    axis: usize,
    size: Axis,
) -> Result<Value, Reason> {
    if size.input.saturating_mul(size.output) > crate::importer::MOST_KNOWN {
        return unsupported(format!(
            "an axis of size {} is too large to be resized to {}",
            size.input, size.output
        ));
    }
    let mut matrix = vec![0.0; size.input * size.output];
    let mut outside = vec![0.0; size.output];
    for at in 0..size.output {
        match row(rule, size, at) {
            Some(weights) => {
                for (from, weight) in weights.into_iter().enumerate() {
                    matrix[from * size.output + at] = weight as f32;
                }
            }
            None => outside[at] = rule.extrapolation,
        }
    }
    let rank = value.rank();
    let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let moved = importer.transpose(value, &order)?;
    let matrix = Known::floats(vec![size.input, size.output], matrix);
    let mut result = importer.matmul(&moved, &matrix.into())?;
    if outside.iter().any(|&value| value != 0.0) {
        result =
            importer.binary(BinaryKind::Add, &result, &Known::floats(vec![size.output], outside).into())?;
    }
    importer.transpose(&result, &back)
}
