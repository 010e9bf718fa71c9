//! Larger relatives of AlexNet, VGG and ResNet.

use windlass::network;

network! {
    /// AlexNet as published (Krizhevsky, Sutskever and Hinton 2012): local response normalisation, and two groups of
    /// channels in the layers that two devices computed.
    pub network AlexNet2012(image: [3, 227, 227]) -> [1000] {
        c1: conv2d(96, kernel_size = 11, stride = 4); relu; local_response_norm(5, k = 2); max_pool2d(3, stride = 2);
        c2: conv2d(256, kernel_size = 5, padding = 2, groups = 2); relu; local_response_norm(5, k = 2); max_pool2d(3, stride = 2);
        c3: conv2d(384, kernel_size = 3, padding = 1); relu;
        c4: conv2d(384, kernel_size = 3, padding = 1, groups = 2); relu;
        c5: conv2d(256, kernel_size = 3, padding = 1, groups = 2); relu; max_pool2d(3, stride = 2);
        classifier(4096)
    }

    /// Three dense layers, with dropout between them.
    block classifier(width) {
        flatten;
        f1: linear(width); relu; dropout(0.5);
        f2: linear(width); relu; dropout(0.5);
        f3: linear(1000)
    }

    /// A stage of VGG.
    block stage(convolutions, channels) {
        repeat convolutions { conv2d(channels, kernel_size = 3, padding = 1); relu; }
        max_pool2d(2)
    }

    /// VGG with 13 layers (Simonyan and Zisserman 2015, configuration B).
    pub network Vgg13(image: [3, 224, 224]) -> [1000] {
        s1: stage(2, 64); s2: stage(2, 128); s3: stage(2, 256); s4: stage(2, 512); s5: stage(2, 512);
        classifier(4096)
    }

    /// VGG with 19 layers (Simonyan and Zisserman 2015, configuration E).
    pub network Vgg19(image: [3, 224, 224]) -> [1000] {
        s1: stage(2, 64); s2: stage(2, 128); s3: stage(4, 256); s4: stage(4, 512); s5: stage(4, 512);
        classifier(4096)
    }

    /// A stage of VGG with batch normalisation.
    block normal_stage(convolutions, channels) {
        repeat convolutions { conv2d(channels, kernel_size = 3, padding = 1); batch_norm; relu; }
        max_pool2d(2)
    }

    /// VGG with 16 layers and batch normalisation.
    pub network Vgg16Norm(image: [3, 224, 224]) -> [1000] {
        s1: normal_stage(2, 64); s2: normal_stage(2, 128);
        s3: normal_stage(3, 256); s4: normal_stage(3, 512); s5: normal_stage(3, 512);
        classifier(4096)
    }

    /// A small VGG with batch normalisation for images of 32×32.
    pub network CifarVgg(image: [3, 32, 32]) -> [10] {
        s1: cifar_stage(64); s2: cifar_stage(128); s3: cifar_stage(256);
        flatten;
        f1: linear(256); relu; dropout(0.5);
        f2: linear(10)
    }

    /// Two convolutions, then half the resolution.
    block cifar_stage(channels) {
        repeat 2 { conv_norm(channels, 3, 1, 1); relu; }
        max_pool2d(2)
    }

    /// A convolution without a bias, because its normalisation has one.
    block conv_norm(channels, kernel_size, stride, groups) {
        conv: conv2d(channels, kernel_size = kernel_size, stride = stride, padding = (kernel_size - 1) / 2, groups = groups, bias = false);
        norm: batch_norm
    }

    /// A dense network for images of 28×28.
    pub network Mlp(image: [784]) -> [10] {
        f1: linear(512); relu;
        f2: linear(512); relu;
        f3: linear(10)
    }

    /// The first layers of ResNet: a quarter of the resolution.
    block stem(channels) { conv_norm(channels, 7, 2, 1); relu; max_pool2d(3, stride = 2, padding = 1) }

    /// The basic residual block of ResNet.
    block basic(channels) {
        let skip = it;
        c1: conv_norm(channels, 3, 1, 1); relu;
        c2: conv_norm(channels, 3, 1, 1); add(skip); relu
    }

    /// Like `basic`, with half the resolution.
    block basic_down(channels) {
        let input = it;
        c1: conv_norm(channels, 3, 2, 1); relu;
        c2: conv_norm(channels, 3, 1, 1);
        let main = it;
        from(input);
        shortcut: conv_norm(channels, 1, 2, 1); add(main); relu
    }

    /// ResNet with 34 layers (He et al. 2016, arXiv:1512.03385).
    pub network ResNet34(image: [3, 224, 224]) -> [1000] {
        stem: stem(64);
        s1: repeat 3 { basic(64) }
        s2: basic_down(128); r2: repeat 3 { basic(128) }
        s3: basic_down(256); r3: repeat 5 { basic(256) }
        s4: basic_down(512); r4: repeat 2 { basic(512) }
        global_avg_pool2d; flatten;
        f1: linear(1000)
    }

    /// The bottleneck block of ResNeXt: the middle convolution has 32 groups.
    block grouped(width) {
        let skip = it;
        c1: conv_norm(width, 1, 1, 1); relu;
        c2: conv_norm(width, 3, 1, 32); relu;
        c3: conv_norm(2 * width, 1, 1, 1); add(skip); relu
    }

    /// Like `grouped`, with other channels and perhaps a lower resolution.
    block grouped_down(width, stride) {
        let input = it;
        c1: conv_norm(width, 1, 1, 1); relu;
        c2: conv_norm(width, 3, stride, 32); relu;
        c3: conv_norm(2 * width, 1, 1, 1);
        let main = it;
        from(input);
        shortcut: conv_norm(2 * width, 1, stride, 1); add(main); relu
    }

    /// ResNeXt-50 32×4d (Xie et al. 2017, arXiv:1611.05431).
    pub network ResNeXt50(image: [3, 224, 224]) -> [1000] {
        stem: stem(64);
        s1: grouped_down(128, 1); r1: repeat 2 { grouped(128) }
        s2: grouped_down(256, 2); r2: repeat 3 { grouped(256) }
        s3: grouped_down(512, 2); r3: repeat 5 { grouped(512) }
        s4: grouped_down(1024, 2); r4: repeat 2 { grouped(1024) }
        global_avg_pool2d; flatten;
        f1: linear(1000)
    }

    /// The layers of the published AlexNet and of ResNeXt, few and narrow.
    pub network SmallGrouped(image: [3, 24, 24]) -> [10] {
        c1: conv2d(12, kernel_size = 5, stride = 2); relu; local_response_norm(5, k = 2);
        c2: conv2d(64, kernel_size = 3, padding = 1, groups = 2); relu; max_pool2d(3, stride = 2, ceil_mode = true);
        s1: grouped_down(32, 2); r1: grouped(32);
        global_avg_pool2d; flatten;
        f1: linear(10)
    }
}
