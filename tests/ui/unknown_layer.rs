windlass::network! {
    network A(image: [1, 28, 28]) -> [10] {
        conv2D(6, kernel_size = 5);
        maxpool(2);
        unfold(8);
        flatten; linear(10)
    }
}

fn main() {}
