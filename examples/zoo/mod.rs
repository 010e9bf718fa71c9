//! Networks for tests and benchmarks, each with the layer sizes of its paper or textbook.

mod common;
pub(crate) mod deep;
pub(crate) mod images;
pub(crate) mod inception;
pub(crate) mod lenet5;
pub(crate) mod mobile;

use windlass::{Graph, network};

pub(crate) use self::deep::{
    AlexNet2012, CifarVgg, Mlp, ResNeXt50, ResNet34, SmallGrouped, Vgg13, Vgg13Norm, Vgg19, Vgg19Norm,
};
pub(crate) use self::images::{
    DcganDiscriminator, DcganGenerator, DilatedSegmentation, SmallDcgan, SmallUNet, TextCnn, UNet, VideoNet,
};
pub(crate) use self::inception::{InceptionNorm, SmallInception};
pub(crate) use self::lenet5::{LeNet5, LeNet5Radial};
pub(crate) use self::mobile::{
    EfficientNetB0, MobileNetV2, MobileNetV3Small, ShuffleNetV2, SmallExcited, SmallShuffle, SqueezeNet,
};

network! {
    /// The networks of this file, for others with other sizes.
    pub(crate) library networks;

    use common::blocks::{
        basic, basic_down, bottleneck, bottleneck_down, classifier, conv_norm, nin_block, stem, vgg_stage,
    };

    /// LeNet-5 (LeCun et al. 1998) as in the book Dive into Deep Learning: sigmoids, average pooling.
    pub network LeNet<size = 28, classes = 10>(image: [1, size, size]) -> [classes] {
        c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        flatten;
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        f7: linear(classes)
    }

    /// AlexNet (Krizhevsky, Sutskever and Hinton 2012), on one device.
    pub network AlexNet<size = 224, classes = 1000, divisor = 1>(image: [3, size, size]) -> [classes] {
        c1: conv2d(96 / divisor, kernel_size = 11, stride = 4, padding = 1); relu; max_pool2d(3, stride = 2);
        c2: conv2d(256 / divisor, kernel_size = 5, padding = 2); relu; max_pool2d(3, stride = 2);
        c3: conv2d(384 / divisor, kernel_size = 3, padding = 1); relu;
        c4: conv2d(384 / divisor, kernel_size = 3, padding = 1); relu;
        c5: conv2d(256 / divisor, kernel_size = 3, padding = 1); relu; max_pool2d(3, stride = 2);
        classifier(4096 / divisor, classes)
    }

    /// VGG with 11 layers (Simonyan and Zisserman 2015, configuration A).
    pub network Vgg11<size = 224, classes = 1000, divisor = 1, norm = false>(image: [3, size, size]) -> [classes] {
        s1: vgg_stage(1, 64 / divisor, norm = norm);
        s2: vgg_stage(1, 128 / divisor, norm = norm);
        s3: vgg_stage(2, 256 / divisor, norm = norm);
        s4: vgg_stage(2, 512 / divisor, norm = norm);
        s5: vgg_stage(2, 512 / divisor, norm = norm);
        classifier(4096 / divisor, classes)
    }

    /// VGG-11 with batch normalisation.
    pub network Vgg11Norm = Vgg11<norm = true>;

    /// VGG with 16 layers (Simonyan and Zisserman 2015, configuration D).
    pub network Vgg16<size = 224, classes = 1000, divisor = 1, norm = false>(image: [3, size, size]) -> [classes] {
        s1: vgg_stage(2, 64 / divisor, norm = norm);
        s2: vgg_stage(2, 128 / divisor, norm = norm);
        s3: vgg_stage(3, 256 / divisor, norm = norm);
        s4: vgg_stage(3, 512 / divisor, norm = norm);
        s5: vgg_stage(3, 512 / divisor, norm = norm);
        classifier(4096 / divisor, classes)
    }

    /// VGG-16 with batch normalisation.
    pub network Vgg16Norm = Vgg16<norm = true>;

    /// Network in Network (Lin, Chen and Yan 2014).
    pub network Nin<size = 224, classes = 1000, divisor = 1>(image: [3, size, size]) -> [classes] {
        b1: nin_block(96 / divisor, 11, 4, 0); max_pool2d(3, stride = 2);
        b2: nin_block(256 / divisor, 5, 1, 2); max_pool2d(3, stride = 2);
        b3: nin_block(384 / divisor, 3, 1, 1); max_pool2d(3, stride = 2); dropout(0.5);
        b4: nin_block(classes, 3, 1, 1); global_avg_pool2d; flatten
    }

    /// Four parallel paths, concatenated along channels.
    block inception(c1, (c2a, c2b), (c3a, c3b), c4) {
        concat {
            { p1: conv2d(c1, kernel_size = 1); relu }
            { p2a: conv2d(c2a, kernel_size = 1); relu; p2b: conv2d(c2b, kernel_size = 3, padding = 1); relu }
            { p3a: conv2d(c3a, kernel_size = 1); relu; p3b: conv2d(c3b, kernel_size = 5, padding = 2); relu }
            { max_pool2d(3, stride = 1, padding = 1); p4: conv2d(c4, kernel_size = 1); relu }
        }
    }

    /// GoogLeNet (Szegedy et al. 2015), without the auxiliary classifiers.
    pub network GoogLeNet<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        c1: conv2d(64, kernel_size = 7, stride = 2, padding = 3); relu; max_pool2d(3, stride = 2, padding = 1);
        c2: conv2d(64, kernel_size = 1); relu;
        c3: conv2d(192, kernel_size = 3, padding = 1); relu; max_pool2d(3, stride = 2, padding = 1);
        i3a: inception(64, (96, 128), (16, 32), 32);
        i3b: inception(128, (128, 192), (32, 96), 64); max_pool2d(3, stride = 2, padding = 1);
        i4a: inception(192, (96, 208), (16, 48), 64);
        i4b: inception(160, (112, 224), (24, 64), 64);
        i4c: inception(128, (128, 256), (24, 64), 64);
        i4d: inception(112, (144, 288), (32, 64), 64);
        i4e: inception(256, (160, 320), (32, 128), 128); max_pool2d(3, stride = 2, padding = 1);
        i5a: inception(256, (160, 320), (32, 128), 128);
        i5b: inception(384, (192, 384), (48, 128), 128); global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// A classifier in the middle of GoogLeNet, used only in training.
    block auxiliary(classes) {
        avg_pool2d(5, stride = 3); c1: conv2d(128, kernel_size = 1); relu; flatten;
        f1: linear(1024); relu; dropout(0.7);
        f2: linear(classes)
    }

    /// GoogLeNet with its two auxiliary classifiers. Their losses count 0.3 each.
    pub network GoogLeNetAuxiliary<size = 224, classes = 1000>(image: [3, size, size]) -> (class: [classes], early: [classes], late: [classes]) {
        c1: conv2d(64, kernel_size = 7, stride = 2, padding = 3); relu; max_pool2d(3, stride = 2, padding = 1);
        c2: conv2d(64, kernel_size = 1); relu;
        c3: conv2d(192, kernel_size = 3, padding = 1); relu; max_pool2d(3, stride = 2, padding = 1);
        i3a: inception(64, (96, 128), (16, 32), 32);
        i3b: inception(128, (128, 192), (32, 96), 64); max_pool2d(3, stride = 2, padding = 1);
        i4a: inception(192, (96, 208), (16, 48), 64);
        let first = it;
        a1: auxiliary(classes); early = it; from(first);
        i4b: inception(160, (112, 224), (24, 64), 64);
        i4c: inception(128, (128, 256), (24, 64), 64);
        i4d: inception(112, (144, 288), (32, 64), 64);
        let second = it;
        a2: auxiliary(classes); late = it; from(second);
        i4e: inception(256, (160, 320), (32, 128), 128); max_pool2d(3, stride = 2, padding = 1);
        i5a: inception(256, (160, 320), (32, 128), 128);
        i5b: inception(384, (192, 384), (48, 128), 128); global_avg_pool2d; flatten;
        f1: linear(classes); class = it
    }

    /// ResNet with 18 layers (He et al. 2016, arXiv:1512.03385).
    pub network ResNet18<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: stem(64);
        s1: repeat 2 { basic(64) }
        s2: basic_down(128); basic(128);
        s3: basic_down(256); basic(256);
        s4: basic_down(512); basic(512);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// ResNet with 50 layers (He et al. 2016), with the strides in its 3×3 convolutions.
    pub network ResNet50<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: stem(64);
        s1: bottleneck_down(64, 1); r1: repeat 2 { bottleneck(64) }
        s2: bottleneck_down(128, 2); r2: repeat 3 { bottleneck(128) }
        s3: bottleneck_down(256, 2); r3: repeat 5 { bottleneck(256) }
        s4: bottleneck_down(512, 2); r4: repeat 2 { bottleneck(512) }
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// Layers of DenseNet, each of which adds channels to those of all layers before it.
    block dense(layers, growth) {
        repeat layers {
            concat {
                it
                {
                    n1: batch_norm; relu; c1: conv2d(4 * growth, kernel_size = 1, bias = false);
                    n2: batch_norm; relu; c2: conv2d(growth, kernel_size = 3, padding = 1, bias = false)
                }
            }
        }
    }

    /// The transition between dense blocks of DenseNet: fewer channels, half the resolution.
    block transition(channels) {
        norm: batch_norm; relu; conv: conv2d(channels, kernel_size = 1, bias = false); avg_pool2d(2)
    }

    /// DenseNet with 121 layers (Huang et al. 2017, arXiv:1608.06993).
    pub network DenseNet121<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: stem(64);
        d1: dense(6, 32); t1: transition(128);
        d2: dense(12, 32); t2: transition(256);
        d3: dense(24, 32); t3: transition(512);
        d4: dense(16, 32);
        norm: batch_norm; relu; global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// A depthwise convolution and a 1×1 convolution of MobileNet.
    block separable(inputs, outputs, stride) {
        depthwise: conv_norm(inputs, 3, stride = stride, groups = inputs); relu;
        pointwise: conv_norm(outputs, 1); relu
    }

    /// MobileNet, the first version (Howard et al. 2017, arXiv:1704.04861).
    pub network MobileNetV1<size = 224, classes = 1000>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(32, 3, stride = 2); relu;
        separable(32, 64, 1);
        separable(64, 128, 2); separable(128, 128, 1);
        separable(128, 256, 2); separable(256, 256, 1);
        separable(256, 512, 2);
        repeat 5 { separable(512, 512, 1) }
        separable(512, 1024, 2); separable(1024, 1024, 1);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// The layers of AlexNet, narrow.
    pub network SmallAlexNet<size = 67, classes = 10>(image: [3, size, size]) -> [classes] {
        c1: conv2d(12, kernel_size = 11, stride = 4, padding = 1); relu; max_pool2d(3, stride = 2);
        c2: conv2d(16, kernel_size = 5, padding = 2); relu; max_pool2d(3, stride = 2);
        c3: conv2d(24, kernel_size = 3, padding = 1); relu;
        c4: conv2d(24, kernel_size = 3, padding = 1); relu;
        c5: conv2d(16, kernel_size = 3, padding = 1); relu; max_pool2d(3, stride = 2);
        classifier(48, classes)
    }

    /// The layers of VGG-11, narrow.
    pub network SmallVgg = Vgg11<size = 32, classes = 10, divisor = 8>;

    /// The layers of NiN, narrow.
    pub network SmallNin<size = 67, classes = 10>(image: [3, size, size]) -> [classes] {
        b1: nin_block(12, 11, 4, 0); max_pool2d(3, stride = 2);
        b2: nin_block(16, 5, 1, 2); max_pool2d(3, stride = 2);
        b3: nin_block(24, 3, 1, 1); max_pool2d(3, stride = 2); dropout(0.5);
        b4: nin_block(classes, 3, 1, 1); global_avg_pool2d; flatten
    }

    /// Every kind of layer of GoogLeNet, few and narrow.
    pub network SmallGoogLeNet<size = 32, classes = 10>(image: [3, size, size]) -> [classes] {
        c1: conv2d(8, kernel_size = 7, stride = 2, padding = 3); relu; max_pool2d(3, stride = 2, padding = 1);
        c2: conv2d(8, kernel_size = 1); relu;
        c3: conv2d(16, kernel_size = 3, padding = 1); relu;
        i3a: inception(6, (8, 12), (2, 4), 3);
        i3b: inception(5, (6, 7), (3, 9), 4); max_pool2d(3, stride = 2, padding = 1);
        i4a: inception(8, (4, 8), (4, 8), 8); global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// Every kind of layer of ResNet, few and narrow.
    pub network SmallResNet<size = 48, classes = 10>(image: [3, size, size]) -> [classes] {
        stem: stem(8);
        s1: basic(8); bottleneck_down(4, 1); bottleneck(4);
        s2: basic_down(24);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// Every kind of layer of DenseNet, few and narrow.
    pub network SmallDenseNet<size = 32, classes = 10>(image: [3, size, size]) -> [classes] {
        stem: stem(16);
        d1: dense(3, 8); t1: transition(20);
        d2: dense(2, 8);
        norm: batch_norm; relu; global_avg_pool2d; flatten;
        f1: linear(classes)
    }

    /// The layers of MobileNet, few and narrow.
    pub network SmallMobileNet<size = 20, classes = 10>(image: [3, size, size]) -> [classes] {
        stem: conv_norm(8, 3, stride = 2); relu;
        separable(8, 24, 1); separable(24, 40, 2);
        global_avg_pool2d; flatten;
        f1: linear(classes)
    }
}

/// A network and its name in benchmarks.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// The name, in lower case.
    pub(crate) name: &'static str,
    /// The network as declared.
    pub(crate) graph: fn() -> &'static Graph,
}

/// Every network, roughly in the order of its cost.
pub(crate) const NETWORKS: [Entry; 35] = [
    Entry { name: "lenet", graph: LeNet::graph },
    Entry { name: "lenet5", graph: LeNet5::graph },
    Entry { name: "lenet5_radial", graph: LeNet5Radial::graph },
    Entry { name: "mlp", graph: Mlp::graph },
    Entry { name: "textcnn", graph: TextCnn::graph },
    Entry { name: "dcgan_discriminator", graph: DcganDiscriminator::graph },
    Entry { name: "dcgan_generator", graph: DcganGenerator::graph },
    Entry { name: "unet", graph: UNet::graph },
    Entry { name: "dilated_segmentation", graph: DilatedSegmentation::graph },
    Entry { name: "mobilenet_v3_small", graph: MobileNetV3Small::graph },
    Entry { name: "shufflenet_v2", graph: ShuffleNetV2::graph },
    Entry { name: "cifar_vgg", graph: CifarVgg::graph },
    Entry { name: "mobilenet_v2", graph: MobileNetV2::graph },
    Entry { name: "squeezenet", graph: SqueezeNet::graph },
    Entry { name: "efficientnet_b0", graph: EfficientNetB0::graph },
    Entry { name: "mobilenet_v1", graph: MobileNetV1::graph },
    Entry { name: "alexnet_2012", graph: AlexNet2012::graph },
    Entry { name: "nin", graph: Nin::graph },
    Entry { name: "googlenet", graph: GoogLeNet::graph },
    Entry { name: "alexnet", graph: AlexNet::graph },
    Entry { name: "resnet18", graph: ResNet18::graph },
    Entry { name: "inception_norm", graph: InceptionNorm::graph },
    Entry { name: "densenet121", graph: DenseNet121::graph },
    Entry { name: "resnet34", graph: ResNet34::graph },
    Entry { name: "resnet50", graph: ResNet50::graph },
    Entry { name: "resnext50", graph: ResNeXt50::graph },
    Entry { name: "video", graph: VideoNet::graph },
    Entry { name: "vgg11", graph: Vgg11::graph },
    Entry { name: "vgg11_norm", graph: Vgg11Norm::graph },
    Entry { name: "vgg13", graph: Vgg13::graph },
    Entry { name: "vgg13_norm", graph: Vgg13Norm::graph },
    Entry { name: "vgg16", graph: Vgg16::graph },
    Entry { name: "vgg16_norm", graph: Vgg16Norm::graph },
    Entry { name: "vgg19", graph: Vgg19::graph },
    Entry { name: "vgg19_norm", graph: Vgg19Norm::graph },
];

/// Networks of the same layers that are small enough for the interpreter.
pub(crate) const SMALL_NETWORKS: [Entry; 13] = [
    Entry { name: "small shuffle", graph: SmallShuffle::graph },
    Entry { name: "small inception", graph: SmallInception::graph },
    Entry { name: "small excited", graph: SmallExcited::graph },
    Entry { name: "small unet", graph: SmallUNet::graph },
    Entry { name: "small dcgan", graph: SmallDcgan::graph },
    Entry { name: "small grouped", graph: SmallGrouped::graph },
    Entry { name: "small alexnet", graph: SmallAlexNet::graph },
    Entry { name: "small vgg", graph: SmallVgg::graph },
    Entry { name: "small nin", graph: SmallNin::graph },
    Entry { name: "small googlenet", graph: SmallGoogLeNet::graph },
    Entry { name: "small resnet", graph: SmallResNet::graph },
    Entry { name: "small densenet", graph: SmallDenseNet::graph },
    Entry { name: "small mobilenet", graph: SmallMobileNet::graph },
];
