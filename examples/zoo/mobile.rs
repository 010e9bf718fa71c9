//! Networks for small devices: SqueezeNet, MobileNet v2 and v3, ShuffleNet v2, EfficientNet.

use windlass::network;

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    use super::common::blocks::conv_norm;

    /// SqueezeNet's module: few channels, then 1×1 and 3×3 convolutions side by side.
    block fire(squeeze, expand) {
        squeeze: conv2d(squeeze, kernel_size = 1); relu;
        concat {
            { one: conv2d(expand, kernel_size = 1); relu }
            { three: conv2d(expand, kernel_size = 3, padding = 1); relu }
        }
    }

    /// SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360), without dropout.
    pub network SqueezeNet<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv2d(64, kernel_size = 3, stride = 2); relu; max_pool2d(3, stride = 2);
        fire(16, 64); fire(16, 64); max_pool2d(3, stride = 2);
        fire(32, 128); fire(32, 128); max_pool2d(3, stride = 2);
        fire(48, 192); fire(48, 192); fire(64, 256); fire(64, 256);
        last: conv2d(classes, kernel_size = 1); relu; global_avg_pool2d; flatten
    }

    /// MobileNet v2's block between narrow images: more channels, a depthwise convolution, and fewer channels.
    block inverted(hidden, channels, stride) {
        expand: conv_norm(hidden, 1); relu6;
        depthwise: conv_norm(hidden, 3, stride = stride, groups = hidden); relu6;
        project: conv_norm(channels, 1)
    }

    /// Like `inverted`, around a residual connection.
    block inverted_skip(hidden, channels) {
        let skip = it;
        inverted(hidden, channels, 1); add(skip)
    }

    /// MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381), without dropout.
    pub network MobileNetV2<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(32, 3, stride = 2); relu6;
        depthwise: conv_norm(32, 3, groups = 32); relu6; project: conv_norm(16, 1);
        s2: inverted(96, 24, 2); r2: inverted_skip(144, 24);
        s3: inverted(144, 32, 2); r3: repeat 2 { inverted_skip(192, 32) }
        s4: inverted(192, 64, 2); r4: repeat 3 { inverted_skip(384, 64) }
        s5: inverted(384, 96, 1); r5: repeat 2 { inverted_skip(576, 96) }
        s6: inverted(576, 160, 2); r6: repeat 2 { inverted_skip(960, 160) }
        s7: inverted(960, 320, 1);
        last: conv_norm(1280, 1); relu6; global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// A factor for each channel, computed from the means of all (Hu, Shen and Sun 2018), as in MobileNet v3.
    block excite(squeezed, channels) {
        let features = it;
        global_avg_pool2d;
        reduce: conv2d(squeezed, kernel_size = 1); relu;
        expand: conv2d(channels, kernel_size = 1); hard_sigmoid; multiply(features)
    }

    /// MobileNet v3's block with ReLUs.
    block simple(hidden, channels, stride) {
        expand: conv_norm(hidden, 1); relu;
        depthwise: conv_norm(hidden, 3, stride = stride, groups = hidden); relu;
        project: conv_norm(channels, 1)
    }

    /// MobileNet v3's block with excitation and hard swish.
    block excited(hidden, squeezed, channels, kernel_size, stride) {
        expand: conv_norm(hidden, 1); hard_swish;
        depthwise: conv_norm(hidden, kernel_size, stride = stride, groups = hidden); hard_swish;
        excite(squeezed, hidden);
        project: conv_norm(channels, 1)
    }

    /// Like `excited`, around a residual connection.
    block excited_skip(hidden, squeezed, channels, kernel_size) {
        let skip = it;
        excited(hidden, squeezed, channels, kernel_size, 1); add(skip)
    }

    /// MobileNet v3, small (Howard et al. 2019, arXiv:1905.02244).
    pub network MobileNetV3Small<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(16, 3, stride = 2); hard_swish;
        depthwise: conv_norm(16, 3, stride = 2, groups = 16); relu; excite(8, 16); project: conv_norm(16, 1);
        s2: simple(72, 24, 2);
        let narrow = it;
        r2: simple(88, 24, 1); add(narrow);
        s3: excited(96, 24, 40, 5, 2); r3: repeat 2 { excited_skip(240, 64, 40, 5) }
        s4: excited(120, 32, 48, 5, 1); r4: excited_skip(144, 40, 48, 5);
        s5: excited(288, 72, 96, 5, 2); r5: repeat 2 { excited_skip(576, 144, 96, 5) }
        last: conv_norm(576, 1); hard_swish; global_avg_pool2d; flatten;
        f1: linear(1024); hard_swish; dropout(0.2);
        f2: linear(classes)
    }

    /// ShuffleNet's unit that halves the resolution.
    block shuffle_down(inputs, channels) {
        concat {
            { d1: conv_norm(inputs, 3, stride = 2, groups = inputs); p1: conv_norm(channels, 1); relu }
            {
                c2: conv_norm(channels, 1); relu;
                d2: conv_norm(channels, 3, stride = 2, groups = channels); p2: conv_norm(channels, 1); relu
            }
        }
        channel_shuffle(2)
    }

    /// ShuffleNet's unit, which changes half of the channels.
    block shuffle_unit(channels) {
        concat {
            { slice(0, channels) }
            {
                slice(channels, channels);
                c: conv_norm(channels, 1); relu;
                d: conv_norm(channels, 3, groups = channels); p: conv_norm(channels, 1); relu
            }
        }
        channel_shuffle(2)
    }

    /// ShuffleNet v2, 1.0× (Ma et al. 2018, arXiv:1807.11164).
    pub network ShuffleNetV2<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(24, 3, stride = 2); relu; max_pool2d(3, stride = 2, padding = 1);
        s2: shuffle_down(24, 58); r2: repeat 3 { shuffle_unit(58) }
        s3: shuffle_down(116, 116); r3: repeat 7 { shuffle_unit(116) }
        s4: shuffle_down(232, 232); r4: repeat 3 { shuffle_unit(232) }
        last: conv_norm(1024, 1); relu; global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// EfficientNet's excitation.
    block efficient_excite(squeezed, channels) {
        let features = it;
        global_avg_pool2d;
        reduce: conv2d(squeezed, kernel_size = 1); silu;
        expand: conv2d(channels, kernel_size = 1); sigmoid; multiply(features)
    }

    /// EfficientNet's block: six times the channels, a depthwise convolution, excitation, and fewer channels.
    block efficient(inputs, channels, kernel_size, stride) {
        expand: conv_norm(6 * inputs, 1); silu;
        depthwise: conv_norm(6 * inputs, kernel_size, stride = stride, groups = 6 * inputs); silu;
        efficient_excite(inputs / 4, 6 * inputs);
        project: conv_norm(channels, 1)
    }

    /// Like `efficient`, around a residual connection.
    block efficient_skip(channels, kernel_size, rate) {
        let skip = it;
        efficient(channels, channels, kernel_size, 1); stochastic_depth(rate); add(skip)
    }

    /// EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946).
    pub network EfficientNetB0<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(32, 3, stride = 2); silu;
        depthwise: conv_norm(32, 3, groups = 32); silu; efficient_excite(8, 32); project: conv_norm(16, 1);
        s2: efficient(16, 24, 3, 2); r2: efficient_skip(24, 3, 0.025);
        s3: efficient(24, 40, 5, 2); r3: efficient_skip(40, 5, 0.05);
        s4: efficient(40, 80, 3, 2); r4: repeat 2 { efficient_skip(80, 3, 0.075) }
        s5: efficient(80, 112, 5, 1); r5: repeat 2 { efficient_skip(112, 5, 0.1) }
        s6: efficient(112, 192, 5, 2); r6: repeat 3 { efficient_skip(192, 5, 0.15) }
        s7: efficient(192, 320, 3, 1);
        last: conv_norm(1280, 1); silu; global_avg_pool2d; flatten; dropout(0.2);
        f1: linear(classes)
    }

    /// The layers of SqueezeNet, MobileNet v2 and ShuffleNet, few and narrow.
    pub network SmallShuffle<size = 20, classes = 10>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(8, 3, stride = 2); relu6;
        fire(4, 8);
        i1: inverted(24, 16, 2); i2: inverted_skip(20, 16);
        d1: shuffle_down(16, 9); d2: shuffle_unit(9);
        global_avg_pool2d; flatten;
        head: linear(classes)
    }

    /// The layers of MobileNet v3 and EfficientNet, few and narrow.
    pub network SmallExcited<size = 20, classes = 10>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(8, 3, stride = 2); hard_swish;
        e1: excited_skip(18, 8, 8, 5);
        f1: efficient(8, 12, 3, 2);
        global_avg_pool2d; flatten;
        head: linear(classes)
    }
}
