//! Data from files: folders of images, tables, arrays, and what is drawn from them. All files are written by the tests.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};
use windlass::data::{
    Augmentation, BatchOptions, Batches, DataLoader, ImageDataset, ImageFolder, ImageLoader, LoaderOptions,
    Normalization, Table, TensorDataset, TensorLoader, Transform, npy, read_image,
};
use windlass::ndarray::array;
use windlass::{
    Error, FitOptions, Loss, Model, Optimizer, Options, Progress, Target, Trainer, TrainerOptions, network,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

network! {
    network Colors(image: [3, 4, 4]) -> [2] { flatten; linear(2) }
}

/// A folder with images of one colour: seven red ones, PNG, and five blue ones, JPEG, of different sizes.
fn colors(root: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    for (class, count, color, extension, format) in [
        ("red", 7, Rgb([250, 0, 0]), "png", ImageFormat::Png),
        ("blue", 5, Rgb([0, 0, 250]), "JPEG", ImageFormat::Jpeg),
    ] {
        std::fs::create_dir_all(root.join(class))?;
        for index in 0..count {
            let image = RgbImage::from_pixel(4 + index, 9 - index, color);
            image.save_with_format(root.join(class).join(format!("{index}.{extension}")), format)?;
        }
    }
    std::fs::write(root.join("red/notes.txt"), "not an image")?;
    Ok(root.to_owned())
}

#[test]
fn a_folder_of_images_is_a_data_set_and_trains() -> Outcome {
    let directory = tempfile::tempdir()?;
    let folder = ImageFolder::open(colors(directory.path())?, [3, 4, 4])?;
    assert_eq!(folder.class_names(), ["blue", "red"]);
    assert_eq!(folder.labels(), [[0; 5].as_slice(), &[1; 7]].concat());
    let data = folder.load()?;
    assert_eq!((data.len(), data.image_shape(), data.class_counts()), (12, [3, 4, 4], vec![5, 7]));
    // JPEG keeps an even colour nearly, PNG exactly; channels are planes.
    let (blue, red) = (data.get(0).unwrap().pixels, data.get(11).unwrap().pixels);
    assert_eq!(red, [[250; 16].as_slice(), &[0; 32]].concat());
    assert!(blue[..32].iter().all(|&value| value < 8) && blue[32..].iter().all(|&value| value > 240));
    let grey = read_image(directory.path().join("red/0.png"), [1, 2, 2])?;
    assert_eq!(grey.len(), 4);

    let options = LoaderOptions::default().batch_size(5).shuffle(true).seed(3);
    let loader = ImageLoader::new(&folder, options, 3)?;
    let training = TrainerOptions::default().optimizer(Optimizer::adam());
    let model = Model::<Colors>::with_options(1, &Options::default().threads(1))?;
    let mut trainer = Trainer::new(model, training)?;
    let history = trainer.fit(&loader, &(), FitOptions::epochs(60).progress(Progress::Silent))?;
    assert_eq!(history.last().and_then(|last| last.training.accuracy()), Some(1.0));

    let normalization = Normalization::unit(3)?;
    let model = trainer.into_model();
    let found = model.classify(directory.path().join("red/3.png"), &normalization)?;
    assert_eq!(found.class(), Some(1));
    assert!(found.top(1)[0].1 > 0.5);
    let predictor = model.into_predictor()?;
    assert_eq!(predictor.classify(directory.path().join("red/3.png"), &normalization)?, found);
    assert_eq!(predictor.classify(directory.path().join("blue/4.JPEG"), &normalization)?.class(), Some(0));
    let error = predictor.classify(directory.path().join("red/3.png"), &Normalization::unit(1)?).unwrap_err();
    assert!(error.to_string().contains("3 channels"), "{error}");
    Ok(())
}

#[test]
fn errors_name_the_file() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = colors(directory.path())?;
    let broken = root.join("red/5.png");
    let bytes = std::fs::read(&broken)?;
    std::fs::write(&broken, &bytes[..bytes.len() / 2])?;
    let folder = ImageFolder::open(&root, [3, 4, 4])?;
    let message = folder.load().unwrap_err().to_string();
    assert!(message.contains("5.png"), "{message}");
    let loader = ImageLoader::new(&folder, LoaderOptions::default().batch_size(4), 2)?;
    let mut batches = 0;
    let error = loader.visit(0, &mut |_| {
        batches += 1;
        ControlFlow::Continue(())
    });
    // The broken image is in the last of three batches.
    assert!(error.unwrap_err().to_string().contains("5.png"));
    assert_eq!(batches, 2);
    std::fs::write(&broken, "no image at all")?;
    assert!(matches!(read_image(&broken, [3, 4, 4]), Err(Error::DataFile { path, .. }) if path == broken));
    assert!(matches!(read_image(root.join("none.png"), [3, 4, 4]), Err(Error::Io { .. })));
    let empty = tempfile::tempdir()?;
    let message = ImageFolder::open(empty.path(), [3, 4, 4]).unwrap_err().to_string();
    assert!(
        message.ends_with("it has no folders with PNG or JPEG files, one folder for each class"),
        "{message}"
    );
    assert!(ImageFolder::open(&root, [2, 4, 4]).unwrap_err().to_string().contains("`channels` is 2"));
    assert!(ImageFolder::open(root.join("nowhere"), [3, 4, 4]).unwrap_err().to_string().contains("nowhere"));
    Ok(())
}

/// The pixels and labels of the batches of an epoch.
#[test]
fn images_beyond_the_memory_are_refused() -> Outcome {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("dot"))?;
    for index in 0..500 {
        RgbImage::new(1, 1).save(directory.path().join(format!("dot/{index}.png")))?;
    }
    // Six terabytes.
    let folder = ImageFolder::open(directory.path(), [3, 65_535, 65_535])?;
    let error = folder.load().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(error.to_string().contains("500 images of shape [3, 65535, 65535]"), "{error}");
    Ok(())
}

fn batches(data: &impl Batches, epoch: u64) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    data.visit(epoch, &mut |batch| {
        found.push(format!("{:?} {:?}", batch.inputs, batch.target));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[test]
fn threads_ahead_give_the_batches_of_the_loader() -> Outcome {
    let pixels: Vec<u8> = (0..23 * 48).map(|index| (index * 37 % 251) as u8).collect();
    let labels = (0..23).map(|index| index % 2).collect();
    let data = ImageDataset::new(pixels, labels, [3, 4, 4], vec!["a".to_owned(), "b".to_owned()])?;
    let augmentation = Augmentation::new(vec![
        Transform::HorizontalFlip { probability: 0.5 },
        Transform::Crop { padding: 1 },
    ])?;
    for drop_last in [false, true] {
        let options = LoaderOptions::default().batch_size(4).shuffle(true).seed(9).drop_last(drop_last);
        let options = options.augmentation(augmentation.clone()).weights(data.balanced_weights());
        let expected = batches(&DataLoader::new(&data, options.clone())?, 3)?;
        assert_eq!(expected.len(), if drop_last { 5 } else { 6 });
        for threads in [1, 2, 7, 30] {
            assert_eq!(
                batches(&ImageLoader::new(&data, options.clone(), threads)?, 3)?,
                expected,
                "{threads}"
            );
        }
    }
    // An end before the last batch ends the threads.
    let loader = ImageLoader::new(&data, LoaderOptions::default().batch_size(1), 4)?;
    let mut visited = 0;
    loader.visit(0, &mut |_| {
        visited += 1;
        if visited == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    assert_eq!(visited, 2);
    assert!(ImageLoader::new(&data, LoaderOptions::default(), 0).is_err());
    Ok(())
}

#[test]
fn a_table_trains_a_classifier_of_texts() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("points.csv");
    let mut text = "x;side;y\n".to_owned();
    for index in 0..60 {
        let (x, y) = (f64::from(index % 10) / 5.0 - 0.9, f64::from(index / 10) / 3.0 - 0.9);
        text += &format!("{x};{};{y}\n", if x > y { "below" } else { "above" });
    }
    std::fs::write(&path, text)?;
    let table = Table::read_separated(&path, b';')?;
    let (data, classes) = table.classes(&["x", "y"], "side")?;
    assert_eq!((data.len(), &classes[..]), (60, &["above".to_owned(), "below".to_owned()][..]));
    let (train, test) = data.split_stratified(0.75, 1)?;
    assert_eq!((train.len(), test.len()), (45, 15));

    network! { network Side(point: [2]) -> [2] { linear(8); tanh; linear(2) } }
    let training = TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(windlass::Schedule::constant(0.02)?)
        .loss(Loss::CrossEntropyWith { label_smoothing: 0.0, weights: train.class_weights(2)? });
    let mut trainer = Trainer::new(Side::model(1)?, training)?;
    let balanced = BatchOptions::default().batch_size(15).seed(4).weights(train.balanced_weights()?);
    let loader = TensorLoader::new(&train, balanced)?;
    trainer.fit(&loader, &(), FitOptions::epochs(100).progress(Progress::Silent))?;
    assert!(trainer.evaluate(&test.in_order(15)?)?.accuracy() >= Some(0.8));
    Ok(())
}

#[test]
fn balanced_draws_have_each_class_equally_often() -> Outcome {
    let labels: Vec<i32> = (0..200).map(|index| i32::from(index % 20 == 0)).collect();
    let data = TensorDataset::new(vec![0.5f32; 200], labels)?;
    let loader = TensorLoader::new(&data, BatchOptions::default().weights(data.balanced_weights()?))?;
    let mut counts: HashMap<i32, usize> = HashMap::new();
    for epoch in 0..20 {
        loader.visit(epoch, &mut |batch| {
            if let Target::Labels(labels) = &batch.target {
                labels.elements().iter().for_each(|&label| *counts.entry(label).or_default() += 1);
            }
            ControlFlow::Continue(())
        })?;
    }
    // 4000 draws with probability 1/2: a standard deviation of 32.
    assert_eq!(counts[&0] + counts[&1], 4000);
    assert!(counts[&1].abs_diff(2000) < 160, "{counts:?}");
    assert!(TensorLoader::new(&data, BatchOptions::default().weights([1.0])).is_err());
    let numbers = TensorDataset::new(vec![0.5f32; 4], vec![0.5f32; 4])?;
    assert!(numbers.class_weights(2).is_err());
    Ok(())
}

#[test]
fn arrays_of_numpy_are_inputs_and_labels() -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = |name: &str, header: &str, elements: Vec<u8>| -> std::io::Result<PathBuf> {
        let path = directory.path().join(name);
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(elements);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let floats = [0.5f64, 1.0, -2.0, 4.0, 0.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let x = file("x.npy", "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2), }\n", floats)?;
    let labels = [1i64, 0, 1].iter().flat_map(|x| x.to_le_bytes()).collect();
    let y = file("y.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n", labels)?;
    let data = TensorDataset::new(npy::numbers(&x)?, npy::indices(&y)?)?;
    assert_eq!(npy::numbers(&x)?, array![[0.5, 4.0], [1.0, 0.0], [-2.0, 3.0]].into_dyn());
    assert_eq!((data.len(), data.class_weights(2)?), (3, vec![1.5, 0.75]));
    assert!(npy::indices(&x).unwrap_err().to_string().contains("x.npy: the element 0.5"));
    Ok(())
}
