//! Images in folders, one for each class: `class/file.png`.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader};

use super::ImageDataset;
use super::ahead::ImageSource;
use crate::available;
use crate::error::Error;

/// The extensions of image files; others are skipped.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// A folder of image files: a folder for each class, whose name is that of the class. Classes and files are in the order of
/// their names. Files are PNG or JPEG; others are skipped.
///
/// ```no_run
/// use windlass::data::{ImageFolder, ImageLoader, LoaderOptions};
///
/// let folder = ImageFolder::open("photos/train", [3, 224, 224])?; // photos/train/cat/1.jpg, …
/// println!("{} images of {:?}", folder.files().len(), folder.class_names());
/// let images = folder.load()?; // all in memory
/// let batches = ImageLoader::new(&folder, LoaderOptions::default().shuffle(true), 4)?; // or read on four threads, in time
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFolder {
    image_shape: [usize; 3],
    files: Vec<PathBuf>,
    labels: Vec<i32>,
    class_names: Vec<String>,
}

impl ImageFolder {
    /// Lists the images of a folder. They get the shape `[channels, height, width]`, with one channel for grey images or three
    /// for coloured ones; images of other sizes are resized when they are read.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DataFile`] for a folder without images; [`Error::Setting`] for another number of channels.
    pub fn open(path: impl AsRef<Path>, image_shape: [usize; 3]) -> Result<Self, Error> {
        let path = path.as_ref();
        check_shape(image_shape)?;
        let (mut files, mut labels, mut class_names) = (Vec::new(), Vec::new(), Vec::new());
        for class in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
            let images = entries(&class)?.into_iter().filter(|file| is_image(file));
            let label = class_names.len() as i32;
            files.extend(images);
            labels.resize(files.len(), label);
            class_names.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        if files.is_empty() {
            let problem = "it has no folders with PNG or JPEG files, one folder for each class".to_owned();
            return Err(Error::DataFile { path: path.to_owned(), problem });
        }
        Ok(ImageFolder { image_shape, files, labels, class_names })
    }

    /// The files, class by class.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The label of each file: the index of its class.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// The name of each class.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Reads all images into memory, on all cores.
    ///
    /// # Errors
    /// Those of [`read_image`], for the first file that cannot be read; [`Error::OutOfMemory`] for more images than memory
    /// holds, which an [`ImageLoader`](super::ImageLoader) reads in time.
    pub fn load(&self) -> Result<ImageDataset, Error> {
        let length = self.image_shape.iter().product::<usize>();
        let what = || format!("{} images of shape {:?}", self.files.len(), self.image_shape);
        let mut pixels = available::zeros(length.saturating_mul(self.files.len()), what)?;
        in_parallel(pixels.chunks_exact_mut(length).enumerate(), |(index, pixels)| self.read(index, pixels))?;
        ImageDataset::new(pixels, self.labels.clone(), self.image_shape, self.class_names.clone())
    }
}

impl ImageSource for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    fn label(&self, index: usize) -> i32 {
        self.labels[index]
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<(), Error> {
        pixels.copy_from_slice(&read_image(&self.files[index], self.image_shape)?);
        Ok(())
    }
}

/// Reads an image file, PNG or JPEG, as `[channels, height, width]` bytes. It is resized if it has another size, by a triangle
/// filter, which averages the pixels of larger images.
///
/// # Errors
/// [`Error::Io`]; [`Error::DataFile`] for a file that is no such image; [`Error::OutOfMemory`].
pub fn read_image(path: impl AsRef<Path>, image_shape: [usize; 3]) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    let [channels, height, width] = image_shape;
    let (columns, rows) = check_shape(image_shape)?;
    // The image, its bytes, and these plane by plane.
    let bytes = 3 * channels * height * width;
    available::check(bytes, || format!("an image of shape {image_shape:?}"))?;
    let reader = ImageReader::open(path).map_err(Error::io("open", path))?;
    let reader = reader.with_guessed_format().map_err(Error::io("read", path))?;
    let refused = |reason: image::ImageError| {
        let problem = reason.to_string();
        match reason {
            image::ImageError::IoError(reason) => Error::io("read", path)(reason),
            _ => Error::DataFile { path: path.to_owned(), problem },
        }
    };
    let image = reader.decode().map_err(refused)?;
    let image = match (image.width(), image.height()) == (columns, rows) {
        true => image,
        false => image.resize_exact(columns, rows, FilterType::Triangle),
    };
    let bytes = match channels {
        1 => DynamicImage::into_luma8(image).into_raw(),
        _ => DynamicImage::into_rgb8(image).into_raw(),
    };
    // The channels of a pixel are neighbours in files, and planes here.
    let pixels = height * width;
    Ok((0..channels)
        .flat_map(|channel| (0..pixels).map(move |pixel| (channel, pixel)))
        .map(|(channel, pixel)| bytes[pixel * channels + channel])
        .collect())
}

/// Checks the shape of images; returns width and height.
fn check_shape(image_shape: [usize; 3]) -> Result<(u32, u32), Error> {
    let [channels, height, width] = image_shape;
    if !matches!(channels, 1 | 3) {
        return Err(Error::setting("channels", channels, "1 for grey images, or 3 for coloured ones"));
    }
    let side = |name, size: usize| match u32::try_from(size) {
        Ok(side @ 1..=65_535) => Ok(side),
        _ => Err(Error::setting(name, size, "between 1 and 65535")),
    };
    Ok((side("width", width)?, side("height", height)?))
}

/// The entries of a folder, in the order of their names.
fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let list =
        || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect() };
    let mut entries = list().map_err(Error::io("list", path))?;
    entries.sort_unstable();
    Ok(entries)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Calls a function for every item, on all cores; after an error, no further items are begun.
fn in_parallel<T: Send>(
    items: impl Iterator<Item = T> + Send,
    each: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let items = Mutex::new(items.fuse());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = next() {
                    if let Err(error) = each(item) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        while next().is_some() {}
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
