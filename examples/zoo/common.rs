//! Blocks that several networks of the zoo use.

use windlass::network;

network! {
    /// Blocks of convolutional networks.
    pub(super) library blocks;

    /// A convolution without a bias, because its normalisation has one, with the padding that keeps sizes.
    block conv_norm(channels, kernel_size, stride = 1, groups = 1) {
        conv: conv2d(channels, kernel_size = kernel_size, stride = stride, padding = (kernel_size - 1) / 2, groups = groups, bias = false);
        norm: batch_norm
    }

    /// The classifier of AlexNet and VGG: three dense layers, with dropout between them.
    block classifier(width, classes) {
        flatten;
        f1: linear(width); relu; dropout(0.5);
        f2: linear(width); relu; dropout(0.5);
        f3: linear(classes)
    }

    /// A stage of VGG: convolutions of one width, perhaps with normalisation, then half the resolution.
    block vgg_stage(convolutions, channels, norm = false) {
        repeat convolutions {
            conv2d(channels, kernel_size = 3, padding = 1); if norm { batch_norm } relu;
        }
        max_pool2d(2)
    }

    /// A convolution followed by a small dense network on each pixel.
    block nin_block(channels, kernel_size, stride, padding) {
        conv2d(channels, kernel_size = kernel_size, stride = stride, padding = padding); relu;
        repeat 2 { conv2d(channels, kernel_size = 1); relu; }
    }

    /// The first layers of ResNet and DenseNet: a quarter of the resolution.
    block stem(channels) { conv_norm(channels, 7, stride = 2); relu; max_pool2d(3, stride = 2, padding = 1) }

    /// The basic residual block of ResNet: two convolutions and a shortcut.
    block basic(channels) {
        let skip = it;
        c1: conv_norm(channels, 3); relu;
        c2: conv_norm(channels, 3); add(skip); relu
    }

    /// Like `basic`, with half the resolution.
    block basic_down(channels) {
        let input = it;
        c1: conv_norm(channels, 3, stride = 2); relu;
        c2: conv_norm(channels, 3);
        let main = it;
        from(input);
        shortcut: conv_norm(channels, 1, stride = 2); add(main); relu
    }

    /// The bottleneck block of ResNet: three convolutions, the middle one narrow, and a shortcut.
    block bottleneck(channels) {
        let skip = it;
        c1: conv_norm(channels, 1); relu;
        c2: conv_norm(channels, 3); relu;
        c3: conv_norm(4 * channels, 1); add(skip); relu
    }

    /// Like `bottleneck`, with other channels and perhaps a lower resolution.
    block bottleneck_down(channels, stride) {
        let input = it;
        c1: conv_norm(channels, 1); relu;
        c2: conv_norm(channels, 3, stride = stride); relu;
        c3: conv_norm(4 * channels, 1);
        let main = it;
        from(input);
        shortcut: conv_norm(4 * channels, 1, stride = stride); add(main); relu
    }
}
