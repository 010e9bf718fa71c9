//! Networks whose results are images, or whose inputs are not: segmentation, generation, sequences, videos.

use windlass::network;

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    use super::common::blocks::conv_norm;

    /// Two convolutions at one resolution.
    block double(channels) { a: conv_norm(channels, 3); relu; b: conv_norm(channels, 3); relu }

    /// A small U-Net (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597), padded so that sizes are kept.
    pub network UNet<size = 64, channels = 1, classes = 2>(image: [channels, size, size]) -> [classes, size, size] {
        d1: double(16);
        let fine = it;
        max_pool2d(2); d2: double(32);
        let coarse = it;
        max_pool2d(2); d3: double(64);
        u2: conv_transpose2d(32, kernel_size = 2, stride = 2); concat { coarse it } d4: double(32);
        u1: conv_transpose2d(16, kernel_size = 2, stride = 2); concat { fine it } d5: double(16);
        head: conv2d(classes, kernel_size = 1)
    }

    /// A convolution whose windows have gaps, with the padding that keeps sizes.
    block dilated(channels, dilation) {
        conv2d(channels, kernel_size = 3, padding = dilation, dilation = dilation); relu
    }

    /// The context module of dilated convolutions on feature maps (Yu and Koltun 2016, arXiv:1511.07122, table 1), and
    /// the enlargement of its scores.
    pub network DilatedSegmentation<size = 28, classes = 21>(features: [classes, size, size]) -> [classes, 8 * size, 8 * size] {
        c1: dilated(classes, 1); c2: dilated(classes, 1);
        c3: dilated(classes, 2); c4: dilated(classes, 4); c5: dilated(classes, 8); c6: dilated(classes, 16);
        c7: dilated(classes, 1);
        scores: conv2d(classes, kernel_size = 1); upsample2d(8, mode = linear)
    }

    /// A transposed convolution of DCGAN that doubles the resolution.
    block enlarge(channels) {
        conv: conv_transpose2d(channels, kernel_size = 4, stride = 2, padding = 1, bias = false); norm: batch_norm; relu
    }

    /// The generator of DCGAN (Radford, Metz and Chintala 2016, arXiv:1511.06434) for 64×64 images.
    pub network DcganGenerator<noise = 100, width = 64, channels = 3>(noise: [noise]) -> [channels, 64, 64] {
        reshape((noise, 1, 1));
        g1: conv_transpose2d(8 * width, kernel_size = 4, bias = false); norm: batch_norm; relu;
        g2: enlarge(4 * width); g3: enlarge(2 * width); g4: enlarge(width);
        g5: conv_transpose2d(channels, kernel_size = 4, stride = 2, padding = 1, bias = false); tanh
    }

    /// A convolution of DCGAN that halves the resolution.
    block reduce(channels) {
        conv: conv2d(channels, kernel_size = 4, stride = 2, padding = 1, bias = false); norm: batch_norm;
        leaky_relu(slope = 0.2)
    }

    /// The discriminator of DCGAN; its result is a logit.
    pub network DcganDiscriminator<width = 64, channels = 3>(image: [channels, 64, 64]) -> [1] {
        d1: conv2d(width, kernel_size = 4, stride = 2, padding = 1, bias = false); leaky_relu(slope = 0.2);
        d2: reduce(2 * width); d3: reduce(4 * width); d4: reduce(8 * width);
        d5: conv2d(1, kernel_size = 4, bias = false); flatten
    }

    /// The largest match of some patterns of words.
    block patterns(width) { conv1d(100, kernel_size = width); relu; global_max_pool1d }

    /// A convolutional classifier of sentences (Kim 2014, arXiv:1408.5882), for 64 words as vectors of 100 numbers.
    pub network TextCnn<features = 100, words = 64, classes = 2>(words: [features, words]) -> [classes] {
        concat { { p3: patterns(3) } { p4: patterns(4) } { p5: patterns(5) } }
        flatten; dropout(0.5);
        f1: linear(classes)
    }

    /// A small network of three-dimensional convolutions for videos (Tran et al. 2015, arXiv:1412.0767).
    pub network VideoNet<frames = 16, size = 56, classes = 10>(clip: [3, frames, size, size]) -> [classes] {
        c1: conv3d(32, kernel_size = 3, padding = 1); relu; max_pool3d((1, 2, 2));
        c2: conv3d(64, kernel_size = 3, padding = 1); relu; max_pool3d(2);
        c3: conv3d(128, kernel_size = 3, padding = 1); relu; max_pool3d(2);
        global_avg_pool3d; flatten;
        f1: linear(classes)
    }

    /// The layers of U-Net, few and narrow.
    pub network SmallUNet<size = 12, channels = 1, classes = 3>(image: [channels, size, size]) -> [classes, size, size] {
        d1: double(8);
        let fine = it;
        max_pool2d(2); d2: double(12);
        u1: conv_transpose2d(8, kernel_size = 2, stride = 2); concat { fine it } d3: double(8);
        c1: dilated(8, 2); upsample2d(2, mode = linear); avg_pool2d(2);
        head: conv2d(classes, kernel_size = 1)
    }

    /// The layers of DCGAN, few and narrow.
    pub network SmallDcgan(noise: [6]) -> [2] {
        reshape((6, 1, 1));
        g1: conv_transpose2d(16, kernel_size = 3, bias = false); norm: batch_norm; relu;
        g2: enlarge(8);
        g3: conv_transpose2d(3, kernel_size = 4, stride = 2, padding = 1); tanh;
        d1: reduce(8); d2: reduce(12);
        d3: conv2d(2, kernel_size = 3); flatten
    }
}
