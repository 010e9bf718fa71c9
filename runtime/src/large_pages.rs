//! Pages of 2 MiB for memory that programs read sequentially: with small pages, address translation costs as much as
//! the reads.

use ndarray::ArrayD;

/// Bytes of a large page.
pub(crate) const LARGE_PAGE: usize = 2 << 20;
/// The minimum size in bytes of memory in large pages.
pub(crate) const LARGE: usize = 2 * LARGE_PAGE;

/// A copy of numbers, in large pages if there are many. Large pages are a hint: where the system has none, it is an
/// ordinary copy.
///
/// Models, trainers and predictors store their parameters this way; this function is for programs that bind memory to
/// [`Executor`](crate::executor::Executor)s themselves.
///
/// ```
/// use windlass_runtime::large_pages::in_large_pages;
/// let weights: Vec<f32> = (0..2_000_000).map(|x| x as f32).collect();
/// assert_eq!(in_large_pages(&weights), weights);
/// ```
///
/// # Panics
/// If there is not enough memory for the copy.
pub fn in_large_pages(values: &[f32]) -> Vec<f32> {
    copied(values).unwrap_or_else(|| values.to_vec())
}

/// The copy; `None` if there is not enough memory.
fn copied(values: &[f32]) -> Option<Vec<f32>> {
    // Advised before it is touched, because pages are allocated on the first write.
    let mut copy = Vec::new();
    copy.try_reserve_exact(values.len()).ok()?;
    if 4 * values.len() >= LARGE {
        ask(&mut copy);
    }
    copy.extend_from_slice(values);
    Some(copy)
}

/// A tensor in large pages, if it is large and there is enough memory for the copy.
pub(crate) fn tensor_in_large_pages(tensor: ArrayD<f32>) -> ArrayD<f32> {
    match tensor.as_slice() {
        Some(values) if 4 * values.len() >= LARGE => {
            let copy = copied(values).and_then(|copy| ArrayD::from_shape_vec(tensor.raw_dim(), copy).ok());
            copy.unwrap_or(tensor)
        }
        _ => tensor,
    }
}

/// Requests large pages for the capacity of a vector.
#[cfg(target_os = "linux")]
fn ask(values: &mut Vec<f32>) {
    use rustix::mm::{Advice, madvise};
    let start = values.as_mut_ptr();
    let skipped = start.cast::<u8>().align_offset(LARGE_PAGE);
    let bytes = (4 * values.capacity()).saturating_sub(skipped) / LARGE_PAGE * LARGE_PAGE;
    if bytes > 0 {
        // SAFETY: the range is within the vector's own allocation, and this advice changes no contents. A system
        // without large pages refuses, which is harmless.
        let _ = unsafe { madvise(start.byte_add(skipped).cast(), bytes, Advice::LinuxHugepage) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask(_: &mut Vec<f32>) {}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::{LARGE, in_large_pages, tensor_in_large_pages};

    #[test]
    fn numbers_stay_as_they_are() {
        for floats in [0, 1, LARGE / 4 - 1, LARGE / 4, LARGE, LARGE + 7] {
            let values: Vec<f32> = (0..floats).map(|x| x as f32).collect();
            assert!(in_large_pages(&values) == values, "{floats}");
        }
        let tensor = ArrayD::from_shape_fn(IxDyn(&[3, LARGE / 8]), |at| (at[0] * 7 + at[1]) as f32);
        assert!(tensor_in_large_pages(tensor.clone()) == tensor);
        let turned = tensor.clone().reversed_axes();
        assert!(tensor_in_large_pages(turned.clone()) == turned);
    }
}
