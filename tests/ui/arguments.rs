windlass::network! {
    network A(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel = 5);
        conv2d(6);
        conv2d(6, kernel_size = 3, stride = 2, stride = 1);
        conv2d(6, 3, 1);
        conv2d(kernel_size = 3, 6);
        conv2d(6, kernel_size = 3, colour = 1);
        relu(0.1);
        flatten;
        dropout(true);
        linear(10, bias = 1)
    }
}

fn main() {}
