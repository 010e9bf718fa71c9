use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const SHAPE: [usize; 3] = [2, 3, 4];

fn image() -> Vec<u8> {
    (1..=24).map(|pixel| pixel * 10).collect()
}

fn applied(transforms: Vec<Transform>, seed: u64, epoch: u64, example: usize) -> Vec<u8> {
    let mut image = image();
    Augmentation::new(transforms).unwrap().apply(&mut image, SHAPE, seed, epoch, example);
    image
}

/// The crop by its definition, on an image that is actually padded.
fn cropped(image: &[u8], padding: usize, top: usize, left: usize) -> Vec<u8> {
    let [channels, height, width] = SHAPE;
    let mut result = Vec::new();
    for (channel, y, x) in
        (0..channels).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
    {
        let (y, x) = ((y + top).checked_sub(padding), (x + left).checked_sub(padding));
        result.push(match (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
            (Some(y), Some(x)) => image[(channel * height + y) * width + x],
            _ => 0,
        });
    }
    result
}

#[test]
fn every_window_is_cropped_as_defined() {
    for (padding, top, left) in
        (0..3).flat_map(|p| (0..=2 * p).flat_map(move |t| (0..=2 * p).map(move |l| (p, t, l))))
    {
        let mut got = image();
        for plane in got.chunks_exact_mut(12) {
            crop(plane, 4, padding, top, left);
        }
        assert_eq!(got, cropped(&image(), padding, top, left), "{padding} {top} {left}");
    }
}

#[test]
fn crops_reach_every_window_and_no_other() {
    let windows: Vec<Vec<u8>> = (0..3)
        .flat_map(|top| (0..3).map(move |left| (top, left)))
        .map(|(top, left)| cropped(&image(), 1, top, left))
        .collect();
    let mut seen = [false; 9];
    for example in 0..200 {
        let got = applied(vec![Transform::Crop { padding: 1 }], 0, 0, example);
        seen[windows.iter().position(|window| *window == got).expect("a window of the padded image")] = true;
    }
    assert_eq!(seen, [true; 9]);
}

#[test]
fn flips_happen_as_often_as_asked() {
    let flips = |probability| {
        let flipped =
            |example| applied(vec![Transform::HorizontalFlip { probability }], 3, 0, example) != image();
        (0..2000).filter(|&example| flipped(example)).count()
    };
    assert_eq!(flips(0.0), 0);
    assert_eq!(flips(1.0), 2000);
    let quarter = flips(0.25);
    assert!((420..580).contains(&quarter), "{quarter} of 2000"); // four standard deviations
}

#[test]
fn brightness_scales_and_contrast_keeps_the_mean() {
    let mut image = [0, 100, 200, 255];
    scale_about(&mut image, 0.0, 1.5);
    assert_eq!(image, [0, 150, 255, 255]);
    let mut image = [50, 100, 150, 100];
    scale_about(&mut image, 100.0, 0.5);
    assert_eq!(image, [75, 100, 125, 100]);
    let mut image = [0, 200];
    scale_about(&mut image, 100.0, 2.0);
    assert_eq!(image, [0, 255]);
}

#[test]
fn transforms_are_applied_in_order() {
    let strong = Transform::Brightness { strength: 1.0 };
    let weak = Transform::Contrast { strength: 0.5 };
    assert_ne!(applied(vec![strong, weak], 1, 2, 3), applied(vec![weak, strong], 1, 2, 3));
}

#[test]
fn values_out_of_range_are_refused() {
    for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        for transform in [
            Transform::HorizontalFlip { probability: value },
            Transform::Brightness { strength: value },
            Transform::Contrast { strength: value },
        ] {
            let result = Augmentation::new(vec![transform]);
            assert!(matches!(result, Err(Error::Setting { .. })), "{transform:?}: {result:?}");
        }
    }
    let crop = Augmentation::new(vec![Transform::Crop { padding: 4 }]).unwrap();
    assert!(crop.check([1, 5, 5]).is_ok());
    assert_eq!(
        crop.check([1, 5, 4]).unwrap_err().to_string(),
        "`crop.padding` is 4 but must be smaller than 4, the smaller side of the images"
    );
    assert!(serde_json::from_str::<Augmentation>(r#"[{"brightness":{"strength":2.0}}]"#).is_err());
}

proptest! {
    #[test]
    fn the_same_seed_epoch_and_example_give_the_same_image(seed: u64, epoch: u64, example: usize) {
        let all = vec![
            Transform::HorizontalFlip { probability: 0.5 },
            Transform::Crop { padding: 2 },
            Transform::Brightness { strength: 0.5 },
            Transform::Contrast { strength: 0.5 },
        ];
        prop_assert_eq!(applied(all.clone(), seed, epoch, example), applied(all, seed, epoch, example));
    }
}

#[test]
fn seed_epoch_and_example_each_change_the_image() {
    let count_of_different = |key: fn(usize) -> (u64, u64, usize)| {
        let mut images: Vec<Vec<u8>> = (0..50)
            .map(|i| {
                let (seed, epoch, example) = key(i);
                applied(vec![Transform::Brightness { strength: 1.0 }], seed, epoch, example)
            })
            .collect();
        images.sort();
        images.dedup();
        images.len()
    };
    assert!(count_of_different(|i| (i as u64, 0, 0)) > 40);
    assert!(count_of_different(|i| (0, i as u64, 0)) > 40);
    assert!(count_of_different(|i| (0, 0, i)) > 40);
}

#[test]
fn messages_state_the_range() {
    for (transform, message) in [
        (
            Transform::RandomResizedCrop { min_area: 0.0, max_aspect: 1.0 },
            "`random_resized_crop.min_area` is 0 but must be above 0, and at most 1",
        ),
        (
            Transform::RandomResizedCrop { min_area: 1.0, max_aspect: 0.5 },
            "`random_resized_crop.max_aspect` is 0.5 but must be at least 1",
        ),
        (Transform::Rotation { degrees: 181.0 }, "`rotation.degrees` is 181 but must be from 0 to 180"),
        (Transform::Cutout { size: 0 }, "`cutout.size` is 0 but must be at least 1"),
    ] {
        assert_eq!(Augmentation::new(vec![transform]).unwrap_err().to_string(), message);
    }
    let jitter = Transform::ColorJitter { brightness: 0.1, contrast: 0.1, saturation: 0.0, hue: 0.25 };
    let jitter = Augmentation::new(vec![jitter]).unwrap();
    assert!(jitter.check([3, 4, 4]).is_ok());
    assert_eq!(
        jitter.check([1, 4, 4]).unwrap_err().to_string(),
        "`color_jitter.hue` is 0.25 but must be 0 for images of 1 channels: colours have 3"
    );
}

#[test]
fn a_quarter_turn_moves_every_pixel() {
    let mut plane: Vec<u8> = (1..=9).collect();
    rotate(&mut plane, 3, std::f64::consts::FRAC_PI_2);
    assert_eq!(plane, [3, 6, 9, 2, 5, 8, 1, 4, 7]); // counter-clockwise: the right column becomes the top row
    rotate(&mut plane, 3, -std::f64::consts::FRAC_PI_2);
    assert_eq!(plane, (1..=9).collect::<Vec<u8>>());
}

#[test]
fn rotation_interpolates_and_leaves_black_corners() {
    let mut plane = vec![200u8; 25];
    rotate(&mut plane, 5, std::f64::consts::FRAC_PI_4);
    assert_eq!(plane[12], 200, "the centre stays");
    // A corner comes from 2√2 beyond the centre, between the last pixel at 2 and black at 3: (3 − 2√2)·200.
    assert_eq!([plane[0], plane[4], plane[20], plane[24]], [34; 4]);
    // The middle of a side comes from the corner at distance 2, halfway to the diagonal: within the image.
    assert_eq!(plane[10], 200);
    let angles: HashSet<Vec<u8>> =
        (0..50).map(|example| applied(vec![Transform::Rotation { degrees: 30.0 }], 0, 0, example)).collect();
    assert!(angles.len() > 40, "{}", angles.len());
}

#[test]
fn a_part_is_enlarged_by_interpolation() {
    // The right half of a row of four: 30 and 70 at the centres 0.5 and 2.5 of the result.
    let mut row = [0, 10, 30, 70];
    resize(&mut row, 4, ([0, 2], [1, 2]));
    assert_eq!(row, [30, 40, 60, 70]);
    let mut plane = [10, 20, 30, 40];
    resize(&mut plane, 2, ([1, 0], [1, 1]));
    assert_eq!(plane, [30; 4]);
    let mut whole = image();
    resize(&mut whole[..12], 4, ([0, 0], [3, 4]));
    assert_eq!(whole, image());
}

#[test]
fn parts_have_the_area_and_the_aspect_asked_for() {
    let mut random = stream(7, Purpose::Augment, 0, 0);
    let (mut least, mut most, mut areas) = (f64::INFINITY, 0.0f64, 0.0);
    for _ in 0..2000 {
        let ([top, left], [height, width]) = resized_part([200, 300], 0.25, 4.0 / 3.0, &mut random);
        assert!(top + height <= 200 && left + width <= 300);
        let area = (height * width) as f64 / 60_000.0;
        let aspect = width as f64 / height as f64 / 1.5;
        assert!((0.24..=1.0).contains(&area), "{area}");
        assert!((0.74..1.35).contains(&aspect), "{aspect}");
        (least, most, areas) = (least.min(area), most.max(area), areas + area);
    }
    assert!(least < 0.27 && most > 0.95 && (0.5..0.7).contains(&(areas / 2000.0)), "{least} {most} {areas}");
}

#[test]
fn squares_are_cut_out_around_a_pixel() {
    let cut = |center, size| {
        let mut plane = [1u8; 20];
        cut_out(&mut plane, 5, center, size);
        plane
    };
    assert_eq!(cut([1, 2], 2), [1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1].map(|p| p));
    assert_eq!(cut([3, 4], 3).iter().filter(|&&pixel| pixel == 0).count(), 4, "cut off at the corner");
    assert_eq!(cut([0, 0], 1), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(cut([2, 2], usize::MAX), [0; 20]);
    // Every channel loses the same square.
    let cut = applied(vec![Transform::Cutout { size: 2 }], 1, 0, 5);
    let gone: Vec<usize> = (0..12).filter(|&pixel| cut[pixel] == 0).collect();
    assert!(!gone.is_empty() && gone.iter().all(|pixel| cut[12 + pixel] == 0), "{cut:?}");
}

#[test]
fn saturation_keeps_grey_and_a_third_of_the_circle_turns_red_into_green() {
    let colors = [200, 90, 10, 90, 30, 90]; // one reddish pixel, one grey pixel, channel by channel
    let mut image = colors;
    saturate(&mut image, 0.0);
    assert_eq!(image, [69, 90, 69, 90, 69, 90]); // 0.299·200 + 0.587·10 + 0.114·30 = 69.09
    let mut image = colors;
    saturate(&mut image, 1.0);
    assert_eq!(image, colors);
    let mut image = colors;
    hue(&mut image, 1.0 / 3.0);
    assert_eq!(image, [30, 90, 200, 90, 10, 90]);
    hue(&mut image, -1.0 / 3.0);
    assert_eq!(image, colors);
}

#[test]
fn jitter_changes_colours_in_random_order() {
    let jitter = |saturation, hue| {
        let jitter = Transform::ColorJitter { brightness: 0.0, contrast: 0.0, saturation, hue };
        let mut image = [200, 90, 10, 90, 30, 90];
        Augmentation::new(vec![jitter]).unwrap().apply(&mut image, [3, 1, 2], 1, 0, 0);
        image
    };
    assert_eq!(jitter(0.0, 0.0), [200, 90, 10, 90, 30, 90]);
    for changed in [jitter(0.5, 0.0), jitter(0.0, 0.5)] {
        assert_ne!(changed, jitter(0.0, 0.0));
        assert_eq!([changed[1], changed[3], changed[5]], [90; 3], "grey stays grey");
    }
}
