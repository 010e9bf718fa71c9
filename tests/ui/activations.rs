//! Mistakes in the arguments of activations, and their names in other libraries.

windlass::network! {
    network A(image: [5, 8, 8]) -> [5, 8, 8] {
        leaky_relu(0.2);
        LeakyReLU(slope = 0.2);
        leaky_relu(negative_slope = 0.2);
        gelu(approximate = tanh);
        swish;
        prelu(0.25);
        prelu(shared = 1);
        prelu(num_parameters = 5);
        maxout;
        relu6(6)
    }

    network B(image: [5, 8, 8]) -> [5, 8, 8] {
        leaky_relu(slope = -0.1);
        elu(alpha = -1);
        huber(delta = 0);
        maxout(2);
        maxout(0)
    }
}

fn main() {}
