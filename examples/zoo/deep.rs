//! Larger relatives of AlexNet, VGG and ResNet.

use windlass::network;

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    use super::common::blocks::{basic, basic_down, classifier, conv_norm, stem, vgg_stage};

    /// AlexNet as published (Krizhevsky, Sutskever and Hinton 2012): local response normalisation, and two groups of
    /// channels in the layers that two devices computed.
    pub network AlexNet2012<size = 227, classes = 1000, divisor = 1>(image: [3, size, size]) -> [classes] {
        c1: conv2d(96 / divisor, kernel_size = 11, stride = 4); relu; local_response_norm(5, k = 2); max_pool2d(3, stride = 2);
        c2: conv2d(256 / divisor, kernel_size = 5, padding = 2, groups = 2); relu; local_response_norm(5, k = 2); max_pool2d(3, stride = 2);
        c3: conv2d(384 / divisor, kernel_size = 3, padding = 1); relu;
        c4: conv2d(384 / divisor, kernel_size = 3, padding = 1, groups = 2); relu;
        c5: conv2d(256 / divisor, kernel_size = 3, padding = 1, groups = 2); relu; max_pool2d(3, stride = 2);
        classifier(4096 / divisor, classes)
    }

    /// VGG with 13 layers (Simonyan and Zisserman 2015, configuration B).
    pub network Vgg13<size = 224, classes = 1000, divisor = 1, norm = false>(image: [3, size, size]) -> [classes] {
        s1: vgg_stage(2, 64 / divisor, norm = norm);
        s2: vgg_stage(2, 128 / divisor, norm = norm);
        s3: vgg_stage(2, 256 / divisor, norm = norm);
        s4: vgg_stage(2, 512 / divisor, norm = norm);
        s5: vgg_stage(2, 512 / divisor, norm = norm);
        classifier(4096 / divisor, classes)
    }

    /// VGG-13 with batch normalisation.
    pub network Vgg13Norm = Vgg13<norm = true>;

    /// VGG with 19 layers (Simonyan and Zisserman 2015, configuration E).
    pub network Vgg19<size = 224, classes = 1000, divisor = 1, norm = false>(image: [3, size, size]) -> [classes] {
        s1: vgg_stage(2, 64 / divisor, norm = norm);
        s2: vgg_stage(2, 128 / divisor, norm = norm);
        s3: vgg_stage(4, 256 / divisor, norm = norm);
        s4: vgg_stage(4, 512 / divisor, norm = norm);
        s5: vgg_stage(4, 512 / divisor, norm = norm);
        classifier(4096 / divisor, classes)
    }

    /// VGG-19 with batch normalisation.
    pub network Vgg19Norm = Vgg19<norm = true>;

    /// A small VGG with batch normalisation for images of 32×32.
    pub network CifarVgg<size = 32, classes = 10>(image: [3, size, size]) -> [classes] {
        s1: cifar_stage(64); s2: cifar_stage(128); s3: cifar_stage(256);
        flatten;
        f1: linear(256); relu; dropout(0.5);
        f2: linear(classes)
    }

    /// Two convolutions, then half the resolution.
    block cifar_stage(channels) {
        repeat 2 { conv_norm(channels, 3); relu; }
        max_pool2d(2)
    }

    /// A dense network for images of 28×28.
    pub network Mlp<features = 784, classes = 10>(image: [features]) -> [classes] {
        f1: linear(512); relu;
        f2: linear(512); relu;
        f3: linear(classes)
    }

    /// ResNet with 34 layers (He et al. 2016, arXiv:1512.03385).
    pub network ResNet34<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: stem(64);
        s1: repeat 3 { basic(64) }
        s2: basic_down(128); r2: repeat 3 { basic(128) }
        s3: basic_down(256); r3: repeat 5 { basic(256) }
        s4: basic_down(512); r4: repeat 2 { basic(512) }
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// The bottleneck block of ResNeXt: the middle convolution has 32 groups.
    block grouped(width) {
        let skip = it;
        c1: conv_norm(width, 1); relu;
        c2: conv_norm(width, 3, groups = 32); relu;
        c3: conv_norm(2 * width, 1); add(skip); relu
    }

    /// Like `grouped`, with other channels and perhaps a lower resolution.
    block grouped_down(width, stride) {
        let input = it;
        c1: conv_norm(width, 1); relu;
        c2: conv_norm(width, 3, stride = stride, groups = 32); relu;
        c3: conv_norm(2 * width, 1);
        let main = it;
        from(input);
        shortcut: conv_norm(2 * width, 1, stride = stride); add(main); relu
    }

    /// ResNeXt-50 32×4d (Xie et al. 2017, arXiv:1611.05431).
    pub network ResNeXt50<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: stem(64);
        s1: grouped_down(128, 1); r1: repeat 2 { grouped(128) }
        s2: grouped_down(256, 2); r2: repeat 3 { grouped(256) }
        s3: grouped_down(512, 2); r3: repeat 5 { grouped(512) }
        s4: grouped_down(1024, 2); r4: repeat 2 { grouped(1024) }
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// The layers of the published AlexNet and of ResNeXt, few and narrow.
    pub network SmallGrouped<size = 24, classes = 10>(image: [3, size, size]) -> [classes] {
        c1: conv2d(12, kernel_size = 5, stride = 2); relu; local_response_norm(5, k = 2);
        c2: conv2d(64, kernel_size = 3, padding = 1, groups = 2); relu; max_pool2d(3, stride = 2, ceil_mode = true);
        s1: grouped_down(32, 2); r1: grouped(32);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }
}
