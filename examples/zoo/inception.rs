//! Inception with batch normalisation.

use windlass::network;

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    use super::common::blocks::conv_norm;

    /// Four parallel paths, the third with two 3×3 convolutions instead of one of 5×5. `pooled` is the pooling of the fourth.
    block inception(c1, (c2a, c2b), (c3a, c3b), c4, pooled = average) {
        concat {
            { p1: conv_norm(c1, 1); relu }
            { p2a: conv_norm(c2a, 1); relu; p2b: conv_norm(c2b, 3); relu }
            { p3a: conv_norm(c3a, 1); relu; p3b: conv_norm(c3b, 3); relu; p3c: conv_norm(c3b, 3); relu }
            { pooled; p4: conv_norm(c4, 1); relu }
        }
    }

    block average { avg_pool2d(3, stride = 1, padding = 1) }

    block maximum { max_pool2d(3, stride = 1, padding = 1) }

    /// Like `inception`, with half the resolution: the fourth path only pools.
    block inception_down((c2a, c2b), (c3a, c3b)) {
        concat {
            { p2a: conv_norm(c2a, 1); relu; p2b: conv_norm(c2b, 3, stride = 2); relu }
            { p3a: conv_norm(c3a, 1); relu; p3b: conv_norm(c3b, 3); relu; p3c: conv_norm(c3b, 3, stride = 2); relu }
            { max_pool2d(3, stride = 2, ceil_mode = true) }
        }
    }

    /// Inception with batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167, figure 5), with an ordinary
    /// convolution as its first layer.
    pub network InceptionNorm<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        c1: conv_norm(64, 7, stride = 2); relu; max_pool2d(3, stride = 2, ceil_mode = true);
        c2: conv_norm(64, 1); relu;
        c3: conv_norm(192, 3); relu; max_pool2d(3, stride = 2, ceil_mode = true);
        i3a: inception(64, (64, 64), (64, 96), 32);
        i3b: inception(64, (64, 96), (64, 96), 64);
        i3c: inception_down((128, 160), (64, 96));
        i4a: inception(224, (64, 96), (96, 128), 128);
        i4b: inception(192, (96, 128), (96, 128), 128);
        i4c: inception(160, (128, 160), (128, 160), 96);
        i4d: inception(96, (128, 192), (160, 192), 96);
        i4e: inception_down((128, 192), (192, 256));
        i5a: inception(352, (192, 320), (160, 224), 128);
        i5b: inception(352, (192, 320), (192, 224), 128, pooled = maximum);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// The layers of Inception with batch normalisation, few and narrow.
    pub network SmallInception<size = 20, classes = 10>(image: [3, size, size]) -> [classes] {
        c1: conv_norm(8, 7, stride = 2); relu;
        i1: inception(4, (3, 6), (2, 4), 2);
        i2: inception_down((4, 9), (3, 7));
        i3: inception(4, (8, 8), (2, 4), 8, pooled = maximum);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }
}
