//! The phases of a convolution's gradient with respect to its input. Along one axis, a phase consists of the results
//! that use the same kernel positions: there is one for each remainder modulo the stride. Each phase is a correlation
//! at stride 1.

use crate::ops::window_walk::{Axis, OpenAxis};

/// The results of a gradient with respect to the input that use the same kernel positions, along one axis. Neighbouring
/// results of a phase are a stride apart. They use the convolution's kernel positions `last − j·every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) axis: Axis,
    pub(super) last: usize,
    pub(super) every: usize,
}

/// The phases of an axis of a convolution in the order of their first result: one for each remainder modulo the stride.
/// A phase may have no kernel position.
pub(super) fn phases(axis: &Axis) -> Vec<Option<Phase>> {
    let Axis { inputs, outputs, step: stride, kernel_size, dilation, .. } = *axis;
    let padding = axis.padding();
    // If i is the input, o the output and k the kernel position, then i + padding = o·stride + k·dilation.
    (0..stride.min(inputs))
        .map(|first| {
            let remainder = (first + padding) % stride;
            let matching: Vec<usize> =
                (0..kernel_size).filter(|position| (position * dilation) % stride == remainder).collect();
            let (&first_position, &last) = (matching.first()?, matching.last()?);
            let every = matching.get(1).map_or(1, |second| second - first_position);
            // The output that reads the first input at the last position; it grows by one per phase step.
            let reach = (first + padding) as i64 - (last * dilation) as i64;
            let axis = Axis {
                inputs: outputs,
                outputs: (inputs - first).div_ceil(stride),
                step: 1,
                kernel_size: matching.len(),
                dilation: if matching.len() > 1 { every * dilation / stride } else { 1 },
                shift: reach / stride as i64,
                open: axis.open.map(|open| OpenAxis { inputs: open.outputs, outputs: open.inputs }),
            };
            Some(Phase { axis, last, every })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::Window;
    use crate::ops::window_walk::forward_axes;

    /// Every pair of input and kernel position of the convolution is visited exactly once.
    #[test]
    fn phases_visit_every_pair_once() {
        for (size, kernel_size, stride, padding, dilation) in [
            (7, 3, 1, 1, 1),
            (8, 3, 2, 1, 1),
            (9, 5, 3, 2, 2),
            (11, 1, 2, 0, 1),
            (6, 4, 4, 3, 3),
            (10, 3, 2, 0, 2),
        ] {
            let window = Window {
                kernel_size: vec![kernel_size],
                stride: vec![stride],
                padding: vec![padding.into()],
                dilation: vec![dilation],
            };
            let axis = forward_axes(&window, &[size])[0];
            let outputs = axis.outputs;
            let mut expected = Vec::new();
            for output in 0..outputs {
                for position in 0..kernel_size {
                    let place = (output * stride + position * dilation).checked_sub(padding);
                    expected
                        .extend(place.filter(|&place| place < size).map(|place| (place, position, output)));
                }
            }
            let mut visited = Vec::new();
            for (first, phase) in phases(&axis).into_iter().enumerate() {
                let Some(phase) = phase else { continue };
                for q in 0..phase.axis.outputs {
                    for position in 0..phase.axis.kernel_size {
                        let output = (q + position * phase.axis.dilation) as i64 + phase.axis.shift;
                        if (0..outputs as i64).contains(&output) {
                            visited.push((
                                first + q * stride,
                                phase.last - position * phase.every,
                                output as usize,
                            ));
                        }
                    }
                }
            }
            expected.sort_unstable();
            visited.sort_unstable();
            assert_eq!(visited, expected, "{window:?}");
        }
    }
}
