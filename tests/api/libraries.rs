//! Parameters of networks, libraries of blocks, constants, and layers with arguments as arguments of blocks: each network
//! has the graph of one that is written out.

use windlass::{Network, network};

network! {
    /// Blocks for the networks of this file.
    pub(super) library blocks;

    const WIDTH = 4;

    /// A convolution of a multiple of the width.
    block unit(factor, activation) { conv: conv2d(WIDTH * factor, kernel_size = 3, padding = 1); activation }

    block stage(count, factor = 1, after = factor + 1) {
        repeat count { unit(factor, relu) }
        last: unit(after, leaky_relu(slope = 0.25))
    }

    /// A network with parameters.
    pub network Stages<size = 8, classes = 2 * 5, depth = classes / 5>(image: [3, size, size]) -> [classes] {
        stage(depth);
        global_avg_pool2d; flatten; linear(classes)
    }

    pub network Small = Stages<size = 4, classes = 5>;
}

mod elsewhere {
    windlass::network! {
        use super::blocks::{stage as piece, unit};
        use crate::libraries::blocks::{Stages, WIDTH};

        /// A block of this program, with a name that the library uses too.
        block stage { unit(1, prelu(shared = true)); unit(2, tail) }

        block tail { batch_norm; tanh }

        const SCALE = 0.5;
        pub(super) const TABLE = WIDTH * 3;
        const EVEN = TABLE % 2 == 0;

        pub(super) network Mine(image: [3, 8, 8]) -> [TABLE] {
            stage;
            if EVEN { piece(1, factor = 3) } else { relu }
            global_avg_pool2d; flatten; dropout(SCALE); linear(TABLE)
        }

        pub(super) network Wide = Stages<classes = TABLE, size = 6, depth = 1>;
    }

    pub(super) const HALF: f64 = SCALE;
    pub(super) const IS_EVEN: bool = EVEN;
}

/// The same networks without parameters, libraries and arguments.
mod written_out {
    windlass::network! {
        pub(super) network Small(image: [3, 4, 4]) -> [5] {
            s: repeat 1 { conv2d(4, kernel_size = 3, padding = 1); relu }
            conv2d(8, kernel_size = 3, padding = 1); leaky_relu(slope = 0.25);
            global_avg_pool2d; flatten; linear(5)
        }

        pub(super) network Mine(image: [3, 8, 8]) -> [12] {
            conv2d(4, kernel_size = 3, padding = 1); prelu(shared = true);
            conv2d(8, kernel_size = 3, padding = 1); batch_norm; tanh;
            conv2d(12, kernel_size = 3, padding = 1); relu;
            conv2d(16, kernel_size = 3, padding = 1); leaky_relu(slope = 0.25);
            global_avg_pool2d; flatten; dropout(0.5); linear(12)
        }
    }
}

/// A graph without the names and labels of its layers.
fn unlabelled<N: Network>() -> Vec<String> {
    let text = N::graph().to_string();
    let lines = text.lines().skip(1).map(|line| line.split(" @").next().unwrap_or_default());
    let unnamed = |line: &str| match line.split_once("name = \"") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('"').map_or("", |(_, after)| after)),
        None => line.to_owned(),
    };
    lines.map(unnamed).collect()
}

#[test]
fn a_network_with_parameters_has_the_defaults() {
    assert_eq!((Stages::NAME, Stages::IMAGE_SHAPE, Stages::CLASSES), ("Stages", [3, 8, 8], 10));
    let names: Vec<&str> = Stages::PARAMETERS.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"stage1.repeat1.1.unit1.conv.weight"), "{names:?}");
}

#[test]
fn another_network_gives_the_parameters_other_values() {
    assert_eq!((Small::NAME, Small::IMAGE_SHAPE, Small::CLASSES), ("Small", [3, 4, 4], 5));
    assert_eq!(unlabelled::<Small>(), unlabelled::<written_out::Small>());
}

#[test]
fn blocks_networks_and_constants_are_shared_by_name() {
    assert_eq!(unlabelled::<elsewhere::Mine>(), unlabelled::<written_out::Mine>());
    assert_eq!((elsewhere::Wide::IMAGE_SHAPE, elsewhere::Wide::CLASSES), ([3, 6, 6], elsewhere::TABLE));
    assert_eq!(elsewhere::Wide::graph().parameters().count(), 6);
}

#[test]
fn constants_are_constants_of_the_program_too() {
    assert_eq!(elsewhere::TABLE, 12);
    assert_eq!((elsewhere::HALF, elsewhere::IS_EVEN), (0.5, true));
}

#[test]
fn a_library_inside_a_function_serves_that_function() {
    network! {
        library local;
        use blocks::*;
        block twice(count) { stage(count); stage(count) }
    }
    network! {
        use local::twice;
        network Twice(image: [1, 4, 4]) -> [8, 4, 4] { twice(1) }
    }
    assert_eq!(Twice::graph().parameters().count(), 8);
}

#[allow(unreachable_pub, reason = "the library is exported whether its module is or not")]
pub mod public {
    windlass::network! {
        /// A library for other crates.
        pub library exported;

        block twice { relu; relu }
    }
}

/// What other crates may use, this one may too.
#[test]
fn a_public_library_serves_its_own_crate() {
    network! {
        use crate::libraries::public::exported::twice;
        network Exported(x: [4]) -> [4] { twice }
    }
    assert_eq!(Exported::graph().nodes().len(), 3);
}

/// A parameter is a number wherever its name could be that of an open size.
#[test]
fn parameters_are_no_open_sizes() {
    network! {
        network Fixed<T = 6>(frames: [T, 4]) -> [T, 2] { linear(2) }
        network Open<k = 3>(frames: [4, T]) -> [4, T + k - 1] { conv1d(4, kernel_size = k, padding = k - 1) }
    }
    assert_eq!(Open::graph().outputs().len(), 1);
    assert_eq!(Fixed::FRAMES_SHAPE, [6, 4]);
}
