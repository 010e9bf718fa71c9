//! LeNet-5 as published in 1998.

use windlass::network;

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    /// The maps of S2 with which each map of C3 is connected (LeCun et al. 1998, table I).
    const C3 = (
        (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
        (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
        (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
        (0, 1, 2, 3, 4, 5)
    );

    /// LeNet-5 (LeCun et al. 1998). At its end is a dense layer, or with `radial = true` the published distances to fixed
    /// prototypes, here negated, so that the largest score is that of the nearest one.
    pub network LeNet5<size = 32, classes = 10, radial = false>(image: [1, size, size]) -> [classes] {
        c1: conv2d(6, kernel_size = 5); scaled_tanh;
        s2: subsample2d(2); scaled_tanh;
        c3: conv2d(16, kernel_size = 5, connections = C3); scaled_tanh;
        s4: subsample2d(2); scaled_tanh;
        c5: conv2d(120, kernel_size = 5); scaled_tanh;
        flatten;
        f6: linear(84); scaled_tanh;
        if radial { output: rbf(classes, trainable = false); negate } else { classes: linear(classes) }
    }

    /// LeNet-5 with its published end.
    pub network LeNet5Radial = LeNet5<radial = true>;
}
