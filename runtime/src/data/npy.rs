//! Reads NumPy's `.npy` files: a header with element type, order and shape, then the elements (NumPy Enhancement Proposal
//! 1). Integers, floats and truth values of either byte order are converted.

use std::path::Path;

use ndarray::{Array, ArrayD, IxDyn, ShapeBuilder};

use crate::error::Error;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array of numbers, as `numpy.save` writes it.
///
/// ```
/// use windlass::data::npy;
///
/// let path = tempfile::tempdir()?.keep().join("x.npy");
/// let mut file = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }          \n".to_vec();
/// file.extend([0.5f32, -2.0].iter().flat_map(|number| number.to_le_bytes()));
/// std::fs::write(&path, file)?;
/// assert_eq!(npy::numbers(&path)?, ndarray::array![[0.5f32], [-2.0]].into_dyn());
/// # std::fs::remove_dir_all(path.parent().unwrap())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; [`Error::DataFile`] for a file that is no `.npy` file or whose elements are no numbers.
pub fn numbers(path: impl AsRef<Path>) -> Result<ArrayD<f32>, Error> {
    read(path.as_ref(), |value| Some(value as f32))
}

/// Reads an array of indices, such as labels: integers of any width, which must fit an `i32`.
///
/// # Errors
/// As [`numbers`], and for an element that is no such integer.
pub fn indices(path: impl AsRef<Path>) -> Result<ArrayD<i32>, Error> {
    let whole =
        |value: f64| value.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
    read(path.as_ref(), |value| whole(value).then_some(value as i32))
}

fn read<E: Copy>(path: &Path, convert: impl Fn(f64) -> Option<E>) -> Result<ArrayD<E>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    parse(&bytes, convert).map_err(|problem| Error::DataFile { path: path.to_owned(), problem })
}

/// The array of a file's content, or what is wrong with it.
fn parse<E: Copy>(bytes: &[u8], convert: impl Fn(f64) -> Option<E>) -> Result<ArrayD<E>, String> {
    let no_npy = || "it is no `.npy` file of NumPy".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(no_npy)?;
    let (length, start) = match rest {
        [1, _, low, high, ..] => (usize::from(u16::from_le_bytes([*low, *high])), 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 6),
        _ => return Err(no_npy()),
    };
    let (header, data) = rest[start..].split_at_checked(length).ok_or("its header is truncated")?;
    let header = str::from_utf8(header).map_err(|_| no_npy())?;
    let field = |name: &str| {
        let (_, value) =
            header.split_once(&format!("'{name}':")).ok_or(format!("its header has no `{name}`"))?;
        Ok::<&str, String>(value.trim_start())
    };
    let shape = field("shape")?;
    let shape =
        shape.strip_prefix('(').and_then(|shape| Some(shape.split_once(')')?.0)).ok_or_else(no_npy)?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Vec<usize> = sizes.map(str::parse).collect::<Result<_, _>>().map_err(|_| no_npy())?;
    let descr = field("descr")?;
    let kind = descr.strip_prefix('\'').and_then(|kind| Some(kind.split_once('\'')?.0)).unwrap_or(descr);
    let (width, decode) = element(kind).ok_or_else(|| {
        format!("its elements have the type {kind}; convert them, for example with `.astype(\"float32\")`")
    })?;
    let count =
        sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).ok_or_else(no_npy)?;
    if Some(data.len()) != count.checked_mul(width) {
        return Err(format!(
            "it has {} bytes of elements, but its shape {sizes:?} needs {count} of {width}",
            data.len()
        ));
    }
    let elements = data.chunks_exact(width).map(|bytes| {
        let value = decode(bytes);
        convert(value).ok_or_else(|| format!("the element {value} is no index of 32 bits"))
    });
    let elements = elements.collect::<Result<Vec<E>, String>>()?;
    let columns_first = field("fortran_order")?.starts_with("True");
    let array = Array::from_shape_vec(IxDyn(&sizes).set_f(columns_first), elements).map_err(|_| no_npy())?;
    Ok(array.as_standard_layout().into_owned())
}

/// The bytes of an element, and how they become a number.
type Decoder = fn(&[u8]) -> f64;

/// The width and decoder of a NumPy type such as `<f4`: the order of its bytes, its kind, and its width.
fn element(kind: &str) -> Option<(usize, Decoder)> {
    macro_rules! decoder {
        ($type:ty, $from:ident) => {
            (size_of::<$type>(), |bytes| {
                bytes.try_into().map_or(f64::NAN, |bytes| <$type>::$from(bytes) as f64)
            })
        };
    }
    let found: (usize, Decoder) = match kind {
        "|b1" | "|u1" => (1, |bytes| f64::from(bytes[0])),
        "|i1" => (1, |bytes| f64::from(bytes[0] as i8)),
        "<f4" => decoder!(f32, from_le_bytes),
        ">f4" => decoder!(f32, from_be_bytes),
        "<f8" => decoder!(f64, from_le_bytes),
        ">f8" => decoder!(f64, from_be_bytes),
        "<i2" => decoder!(i16, from_le_bytes),
        ">i2" => decoder!(i16, from_be_bytes),
        "<i4" => decoder!(i32, from_le_bytes),
        ">i4" => decoder!(i32, from_be_bytes),
        "<i8" => decoder!(i64, from_le_bytes),
        ">i8" => decoder!(i64, from_be_bytes),
        "<u2" => decoder!(u16, from_le_bytes),
        ">u2" => decoder!(u16, from_be_bytes),
        "<u4" => decoder!(u32, from_le_bytes),
        ">u4" => decoder!(u32, from_be_bytes),
        "<u8" => decoder!(u64, from_le_bytes),
        ">u8" => decoder!(u64, from_be_bytes),
        _ => return None,
    };
    Some(found)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn file(version: u8, header: &str, elements: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(elements);
        bytes
    }

    fn header(kind: &str, columns_first: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': {columns_first}, 'shape': {shape}, }}\n")
    }

    fn floats(bytes: &[u8]) -> Result<ArrayD<f32>, String> {
        parse(bytes, |value| Some(value as f32))
    }

    #[test]
    fn arrays_of_every_order_and_type_are_read() {
        let elements: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|x| x.to_be_bytes()).collect();
        let rows = file(1, &header(">i2", "False", "(2, 3)"), &elements);
        assert_eq!(floats(&rows), Ok(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn()));
        let columns = file(2, &header(">i2", "True", "(2, 3)"), &elements);
        assert_eq!(floats(&columns), Ok(array![[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]].into_dyn()));
        let vector = file(1, &header("|u1", "False", "(3,)"), &[0, 7, 255]);
        assert_eq!(floats(&vector), Ok(array![0.0, 7.0, 255.0].into_dyn()));
        let number = file(3, &header("<f8", "False", "()"), &0.5f64.to_le_bytes());
        assert_eq!(floats(&number).map(|array| array.sum()), Ok(0.5));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let reason = |bytes: &[u8]| floats(bytes).unwrap_err();
        assert!(reason(b"PK").contains("no `.npy` file"));
        assert!(reason(&file(1, &header("<c8", "False", "(1,)"), &[0; 8])).contains("<c8"));
        assert!(reason(&file(1, &header("<f4", "False", "(2,)"), &[0; 4])).contains("4 bytes"));
        assert!(reason(&file(1, "{}", &[])).contains("shape"));
        let whole = file(1, &header("<f4", "False", "(1,)"), &[0; 4]);
        for length in 0..whole.len() {
            floats(&whole[..length]).unwrap_err();
        }
    }
}
