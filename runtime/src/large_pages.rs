//! Pages of 2 MiB for memory that programs read from end to end: finding out where small pages are costs as much as reading
//! them. What is kept in such pages is for others to say.

use ndarray::ArrayD;

/// Bytes of a large page.
pub(crate) const LARGE_PAGE: usize = 2 << 20;
/// Memory of so many bytes or more is asked for in large pages.
pub(crate) const LARGE: usize = 2 * LARGE_PAGE;

/// A copy of numbers, where they are many in memory that the system was asked to keep in large pages. It is a wish: where
/// there are no large pages, it is a copy like any other.
///
/// Models, trainers and predictors keep their parameters so; it is for programs that bind memory to
/// [`Executor`](crate::executor::Executor)s themselves.
///
/// ```
/// use windlass_runtime::large_pages::in_large_pages;
/// let weights: Vec<f32> = (0..2_000_000).map(|x| x as f32).collect();
/// assert_eq!(in_large_pages(&weights), weights);
/// ```
///
/// # Panics
/// When there is no memory for the copy.
pub fn in_large_pages(values: &[f32]) -> Vec<f32> {
    copied(values).unwrap_or_else(|| values.to_vec())
}

/// The copy; `None` where there is no memory for it.
fn copied(values: &[f32]) -> Option<Vec<f32>> {
    // Asked for before it is touched: pages are given out when they are written.
    let mut copy = Vec::new();
    copy.try_reserve_exact(values.len()).ok()?;
    if 4 * values.len() >= LARGE {
        ask(&mut copy);
    }
    copy.extend_from_slice(values);
    Some(copy)
}

/// A tensor with its numbers so, if they are many and there is room for the copy.
pub(crate) fn tensor_in_large_pages(tensor: ArrayD<f32>) -> ArrayD<f32> {
    match tensor.as_slice() {
        Some(values) if 4 * values.len() >= LARGE => {
            let copy = copied(values).and_then(|copy| ArrayD::from_shape_vec(tensor.raw_dim(), copy).ok());
            copy.unwrap_or(tensor)
        }
        _ => tensor,
    }
}

/// Asks for large pages within the capacity of a vector.
#[cfg(target_os = "linux")]
fn ask(values: &mut Vec<f32>) {
    use rustix::mm::{Advice, madvise};
    let start = values.as_mut_ptr();
    let skipped = start.cast::<u8>().align_offset(LARGE_PAGE);
    let bytes = (4 * values.capacity()).saturating_sub(skipped) / LARGE_PAGE * LARGE_PAGE;
    if bytes > 0 {
        // SAFETY: the range lies within the vector's own allocation, and this advice changes no contents. Where the system
        // has no large pages it refuses, which is no matter.
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
