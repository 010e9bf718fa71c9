//! Reads IDX files, the format of MNIST: big-endian magic number and sizes, then elements. Files may be gzipped, which
//! their first bytes show. Only unsigned bytes are supported.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::{Error, IdxError};

/// The maximum number of elements in a header. Memory is only allocated for bytes that exist.
pub const MAX_BYTES: u64 = 1 << 31;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of an IDX file of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The sizes of the axes, outermost first.
    pub sizes: Vec<usize>,
    /// The elements, with the last axis contiguous.
    pub data: Vec<u8>,
}

impl Idx {
    /// Reads a file with `rank` axes: 3 for grey images `[count, height, width]`, 1 for labels `[count]`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Idx`], which name the file.
    pub fn read(path: &Path, rank: u8) -> Result<Idx, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Self::read_all(BufReader::new(file), length, path, rank)
    }

    /// Like [`Idx::read`], from the content of a file.
    ///
    /// ```
    /// use windlass::data::idx::Idx;
    /// let labels = Idx::from_bytes(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 9], 1)?;
    /// assert_eq!((labels.sizes, labels.data), (vec![2], vec![7, 9]));
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// Like [`Idx::read`], with `<bytes>` as the file's name.
    pub fn from_bytes(bytes: &[u8], rank: u8) -> Result<Idx, Error> {
        Self::read_all(bytes, bytes.len() as u64, Path::new("<bytes>"), rank)
    }

    fn read_all(mut reader: impl BufRead, length: u64, path: &Path, rank: u8) -> Result<Idx, Error> {
        let start = reader.fill_buf().map_err(Error::io("read", path))?;
        if !start.starts_with(&GZIP_MAGIC) {
            return parse(&mut reader, path, rank, Error::io("read", path));
        }
        let mut decoder = GzDecoder::new(reader);
        let idx = parse(&mut decoder, path, rank, |reason| gzip_error(path, reason))?;
        let mut reader = decoder.into_inner();
        let rest = io::copy(&mut reader, &mut io::sink()).map_err(Error::io("read", path))?;
        if rest > 0 {
            return Err(Error::Idx(IdxError::TrailingBytes {
                path: path.to_owned(),
                expected: length.saturating_sub(rest),
                got: length,
            }));
        }
        Ok(idx)
    }
}

/// A corrupt gzip stream, unless the system is at fault: out of memory, or a disk that cannot be read.
fn gzip_error(path: &Path, reason: io::Error) -> Error {
    if reason.kind() == io::ErrorKind::OutOfMemory || reason.raw_os_error().is_some() {
        return Error::io("read", path)(reason);
    }
    Error::Idx(IdxError::Gzip { path: path.to_owned(), reason })
}

/// Reads to the end of `reader`, so that a decoder verifies its checksum.
fn parse(
    reader: &mut impl Read,
    path: &Path,
    rank: u8,
    read_error: impl Fn(io::Error) -> Error,
) -> Result<Idx, Error> {
    let header_length = 4 * (1 + usize::from(rank));
    let mut header = Vec::new();
    reader.take(header_length as u64).read_to_end(&mut header).map_err(&read_error)?;
    let truncated = |expected, got: usize| {
        Error::Idx(IdxError::Truncated { path: path.to_owned(), expected, got: got as u64 })
    };

    let mut words =
        header.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    let magic = words.next().ok_or_else(|| truncated(header_length as u64, header.len()))?;
    let expected = 0x0800 | u32::from(rank);
    if magic != expected {
        return Err(Error::Idx(IdxError::Magic {
            path: path.to_owned(),
            rank: usize::from(rank),
            expected,
            got: magic,
        }));
    }
    let sizes: Vec<u32> = words.collect();
    if header.len() < header_length {
        return Err(truncated(header_length as u64, header.len()));
    }
    let elements = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)))
        .filter(|&elements| elements <= MAX_BYTES)
        .ok_or_else(|| {
            Error::Idx(IdxError::TooLarge { path: path.to_owned(), sizes: sizes.clone(), limit: MAX_BYTES })
        })?;

    // Requests one extra byte, to detect a file that is too long.
    let mut data = Vec::new();
    reader.take(elements + 1).read_to_end(&mut data).map_err(&read_error)?;
    let expected = header_length as u64 + elements;
    let got = header_length + data.len();
    if (got as u64) < expected {
        return Err(truncated(expected, got));
    }
    if got as u64 > expected {
        return Err(Error::Idx(IdxError::TrailingBytes { path: path.to_owned(), expected, got: got as u64 }));
    }
    Ok(Idx { sizes: sizes.into_iter().map(|size| size as usize).collect(), data })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        directory: TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Fixture { directory: tempfile::tempdir().unwrap() }
        }

        fn file(&self, content: &[u8]) -> PathBuf {
            let path = self.directory.path().join("file");
            std::fs::write(&path, content).unwrap();
            path
        }

        fn read(&self, content: &[u8], rank: u8) -> Result<Idx, Error> {
            Idx::read(&self.file(content), rank)
        }

        /// The message of the error, without the directory.
        fn refused(&self, content: &[u8], rank: u8) -> String {
            let message = self.read(content, rank).unwrap_err().to_string();
            message.replace(self.directory.path().to_str().unwrap(), "…")
        }
    }

    fn images() -> Vec<u8> {
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
        file.extend(1..=6);
        file
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_files_read_alike() {
        let expected = Idx { sizes: vec![2, 1, 3], data: vec![1, 2, 3, 4, 5, 6] };
        let fixture = Fixture::new();
        assert_eq!(fixture.read(&images(), 3).unwrap(), expected);
        assert_eq!(fixture.read(&gzip(&images()), 3).unwrap(), expected);
    }

    #[test]
    fn labels_have_one_axis() {
        let idx = Fixture::new().read(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 9], 1).unwrap();
        assert_eq!(idx, Idx { sizes: vec![2], data: vec![7, 9] });
    }

    #[test]
    fn other_kinds_of_file_are_refused() {
        let fixture = Fixture::new();
        assert_eq!(
            fixture.refused(&images(), 1),
            "…/file is not an IDX file of unsigned bytes with 1 axes: it starts with 0x00000803, not 0x00000801; \
             check that images and labels are not exchanged"
        );
        // Floats, 255 axes, and text.
        for start in [&[0, 0, 0x0d, 3], &[0, 0, 8, 255], b"<htm"] {
            let mut content = images();
            content[..4].copy_from_slice(start);
            for content in [gzip(&content), content] {
                assert!(
                    matches!(fixture.read(&content, 3), Err(Error::Idx(IdxError::Magic { .. }))),
                    "{start:?}"
                );
            }
        }
    }

    #[test]
    fn truncation_names_both_sizes() {
        let fixture = Fixture::new();
        let images = images();
        assert_eq!(
            fixture.refused(&images[..20], 3),
            "…/file is truncated: it holds 20 bytes but its header needs 22; fetch the file again"
        );
        assert_eq!(
            fixture.refused(&images[..9], 3),
            "…/file is truncated: it holds 9 bytes but its header needs 16; fetch the file again"
        );
        for length in 0..images.len() {
            for content in [images[..length].to_vec(), gzip(&images[..length])] {
                let result = fixture.read(&content, 3);
                assert!(
                    matches!(result, Err(Error::Idx(IdxError::Truncated { .. }))),
                    "{length}: {result:?}"
                );
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused_wherever_they_are() {
        let fixture = Fixture::new();
        let mut long = images();
        long.push(0);
        assert_eq!(
            fixture.refused(&long, 3),
            "…/file has bytes past its end: its header gives 22 bytes but it holds at least 23; fetch the file again"
        );
        assert!(matches!(
            fixture.read(&gzip(&long), 3),
            Err(Error::Idx(IdxError::TrailingBytes { expected: 22, got: 23, .. }))
        ));
        let mut gzipped = gzip(&images());
        let length = gzipped.len() as u64;
        gzipped.extend([1, 2, 3]);
        let result = fixture.read(&gzipped, 3);
        assert!(
            matches!(result, Err(Error::Idx(IdxError::TrailingBytes { expected, got, .. })) if expected == length && got == length + 3)
        );
    }

    #[test]
    fn promised_sizes_take_no_memory() {
        let fixture = Fixture::new();
        let mut huge = images();
        huge[4..16].fill(0xff);
        for content in [gzip(&huge), huge.clone()] {
            assert!(matches!(fixture.read(&content, 3), Err(Error::Idx(IdxError::TooLarge { .. }))));
        }
        // Just within the limit: the header gives 2^31 bytes, six exist.
        let mut large = images();
        large[4..16].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
        for content in [gzip(&large), large.clone()] {
            let result = fixture.read(&content, 3);
            assert!(
                matches!(result, Err(Error::Idx(IdxError::Truncated { got: 22, expected, .. })) if expected == 16 + (1 << 31))
            );
        }
    }

    #[test]
    fn corrupt_gzip_is_refused() {
        let fixture = Fixture::new();
        let whole = gzip(&images());
        for length in 2..whole.len() {
            let result = fixture.read(&whole[..length], 3);
            assert!(matches!(result, Err(Error::Idx(IdxError::Gzip { .. }))), "{length}: {result:?}");
        }
        let mut flipped = whole.clone();
        let checksum = whole.len() - 8;
        flipped[checksum] ^= 1;
        assert!(matches!(fixture.read(&flipped, 3), Err(Error::Idx(IdxError::Gzip { .. }))));
    }

    #[test]
    fn what_is_the_system_s_fault_is_not_the_file_s() {
        struct Failing(fn() -> io::Error);
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err((self.0)())
            }
        }
        for (fault, is_gzip) in [
            ((|| io::ErrorKind::OutOfMemory.into()) as fn() -> io::Error, false),
            (|| io::Error::from_raw_os_error(5), false),
            (|| io::ErrorKind::InvalidData.into(), true),
        ] {
            let path = Path::new("file.gz");
            let error = parse(&mut Failing(fault), path, 3, |reason| gzip_error(path, reason)).unwrap_err();
            assert_eq!(matches!(error, Error::Idx(IdxError::Gzip { .. })), is_gzip, "{error}");
            assert_eq!(error.to_string().contains("corrupt"), is_gzip, "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let fixture = Fixture::new();
        let message = Idx::read(&fixture.directory.path().join("absent"), 1).unwrap_err().to_string();
        assert!(message.starts_with("could not open ") && message.contains("absent: "), "{message}");
        assert!(matches!(Idx::read(fixture.directory.path(), 1), Err(Error::Io { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut content: Vec<u8>, rank in 0u8..5, kind in 0..3) {
            let fixture = Fixture::new();
            if kind > 0 && content.len() > 4 {
                content[..4].copy_from_slice(&[0, 0, 8, rank]);
            }
            let content = if kind == 2 { gzip(&content) } else { content };
            if let Ok(idx) = fixture.read(&content, rank) {
                prop_assert_eq!(idx.sizes.iter().product::<usize>(), idx.data.len());
            }
        }

        #[test]
        fn a_flipped_byte_is_never_a_panic(position: prop::sample::Index, flip in 1u8..) {
            for mut content in [images(), gzip(&images())] {
                let position = position.index(content.len());
                content[position] ^= flip;
                let _ = Fixture::new().read(&content, 3);
            }
        }
    }
}
