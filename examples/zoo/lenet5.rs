//! LeNet-5 as published in 1998.

use windlass::network;

network! {
    /// Three neighbouring maps.
    block three(first) { slice(first, 3); conv2d(1, kernel_size = 5) }

    /// Four neighbouring maps.
    block four(first) { slice(first, 4); conv2d(1, kernel_size = 5) }

    /// Two pairs of neighbouring maps.
    block pairs(first, second) {
        concat { { slice(first, 2) } { slice(second, 2) } }
        conv2d(1, kernel_size = 5)
    }

    /// The convolution that connects each of its 16 maps with some of six (LeCun et al. 1998, table I).
    block connected {
        // The first maps follow the last once more, so that all maps are neighbours.
        concat { it { slice(0, 3) } }
        concat {
            { m0: three(0) } { m1: three(1) } { m2: three(2) } { m3: three(3) } { m4: three(4) } { m5: three(5) }
            { m6: four(0) } { m7: four(1) } { m8: four(2) } { m9: four(3) } { m10: four(4) } { m11: four(5) }
            { m12: pairs(0, 3) } { m13: pairs(1, 4) } { m14: pairs(5, 2) }
            { slice(0, 6); m15: conv2d(1, kernel_size = 5) }
        }
    }

    /// LeNet-5 (LeCun et al. 1998), with a dense layer in place of the fixed radial basis functions at its end.
    pub network LeNet5(image: [1, 32, 32]) -> [10] {
        c1: conv2d(6, kernel_size = 5); scaled_tanh;
        s2: subsample2d(2); scaled_tanh;
        c3: connected; scaled_tanh;
        s4: subsample2d(2); scaled_tanh;
        c5: conv2d(120, kernel_size = 5); scaled_tanh;
        flatten;
        f6: linear(84); scaled_tanh;
        classes: linear(10)
    }
}
