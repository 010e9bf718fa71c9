//! Splits, bilinear forms, and convolutions with rotated kernels and connections: each network has the graph of the builder,
//! or the results of other layers.

use windlass::{Builder, Initializer, Layer, Model, Window, network};

network! {
    const TABLE = ((0, 1), (1, 2), (0, 2), (0, 1, 2));

    network Forms(image: [6, 5, 5]) -> [4, 5, 5] {
        let (a, b) = it;
        from(b); conv2d(3, kernel_size = 3, padding = 1, rotated = true); add(a);
        let (thin: 1, wide: 4 / 2) = it;
        concat { wide thin }
        c3: conv2d(4, kernel_size = 3, padding = 1, connections = TABLE)
    }

    network Joined(left: [3], right: [4]) -> [2] {
        from(left); form: bilinear(right, 5, init = normal(0, 0.5)); relu; bilinear(left, 2, bias = false)
    }

    network Distances(x: [4]) -> [3] { rbf(3, trainable = false); negate }
}

#[test]
fn forms_have_the_graphs_of_the_builder() {
    let mut b = Builder::new("Forms");
    let image = b.input("image", &[6, 5, 5]).unwrap();
    let halves = b.split("split1", image, 1, &[3, 3]).unwrap();
    let Layer::Conv { out_channels, window, groups, bias, init, .. } =
        Layer::conv(3, Window::square(3, 1, 1))
    else {
        panic!("not a convolution");
    };
    let rotated = true;
    let conv = Layer::Conv { out_channels, window, groups, bias, init, rotated, connections: Vec::new() };
    let x = b.layer("conv2d1", &conv, halves[1]).unwrap();
    let x = b.add("add1", x, halves[0]).unwrap();
    let parts = b.split("split2", x, 1, &[1, 2]).unwrap();
    let x = b.concat("concat1", &[parts[1], parts[0]]).unwrap();
    let Layer::Conv { window, .. } = conv else { panic!("not a convolution") };
    let connections = vec![vec![0, 1], vec![1, 2], vec![0, 2], vec![0, 1, 2]];
    let conv = Layer::Conv { out_channels: 4, window, groups, bias, init, rotated: false, connections };
    let x = b.layer("c3", &conv, x).unwrap();
    b.output("output", x).unwrap();
    assert_eq!(*Forms::graph(), b.finish().unwrap());
    assert!(Forms::PARAMETERS.contains(&("c3.weight", &[9, 1, 3, 3])));

    let mut b = Builder::new("Joined");
    let [left, right] = [("left", 3), ("right", 4)].map(|(name, size)| b.input(name, &[size]).unwrap());
    let x = b.bilinear("form", [left, right], 5, true, Initializer::Normal(0.0, 0.5)).unwrap();
    let x = b.layer("relu1", &Layer::Relu, x).unwrap();
    let x = b.bilinear("bilinear1", [x, left], 2, false, Initializer::XavierUniform).unwrap();
    b.output("output", x).unwrap();
    assert_eq!(*Joined::graph(), b.finish().unwrap());
    assert!(Joined::PARAMETERS.contains(&("form.weight", &[5, 3, 4])));
}

/// Prototypes that are no parameters are signs, which training does not change.
#[test]
fn fixed_prototypes_are_signs() {
    assert!(Distances::PARAMETERS.is_empty());
    let model: Model<Distances> = Distances::model(4).unwrap();
    let prototypes = model.parameters().get("rbf1.weight").expect("a state").to_owned();
    assert_eq!(prototypes.shape(), [3, 4]);
    assert!(prototypes.iter().all(|value| value.abs() == 1.0));
    let scores = model.forward(&[0.5, -1.0, 2.0, 1.0]).unwrap();
    for (row, score) in prototypes.rows().into_iter().zip(&scores) {
        let distance: f32 =
            row.iter().zip([0.5, -1.0, 2.0, 1.0]).map(|(w, x): (&f32, f32)| (x - w).powi(2)).sum();
        assert_eq!(*score, -distance);
    }
}
