//! Layers that Windlass does not have: the message names the alternatives. Checking continues if the shape is certain.

windlass::network! {
    block head(classes) { flatten; linear(classes) }

    network Kept(image: [3, 32, 32]) -> [10] {
        mish; hard_tanh; CELU(0.1); layer_norm; GroupNorm(4, 3); Dropout2d(0.5);
        head(10)
    }

    network Shapes(image: [3, 32, 32]) -> [10] {
        conv_transpose2d(3, 8); reshape(3, 1024); adaptive_max_pool2d(1); multiply(true)
    }

    network Nothing(x: [8]) -> [10] {
        lstm(8); embedding(100, 8); upsample(2); cross_entropy
    }
}

fn main() {}
