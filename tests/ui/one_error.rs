//! A mistake in a network leaves its type usable: no further errors.

windlass::network! {
    pub network LeNet(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel_size = 50); relu;
        flatten;
        linear(10)
    }

    pub network Two(left: [4], right: [4]) -> (sum: [4], product: [4]) {
        from(left); add(right); sum = it;
        from(left); add(wrong); product = it;
    }

    pub network Broken(image: [1, 28, 28]) => [10] { flatten; linear(10) }
}

fn run<N: windlass::Network>(_: N) -> &'static windlass::Graph {
    N::graph()
}

fn main() {
    let numbers = [0.0; 4];
    let inputs = TwoInputs::new(&numbers, &numbers);
    println!("{:?} {} {:?} {:?}", LeNet::IMAGE_SHAPE, LeNet::CLASSES, Two::SUM_SHAPE, inputs.left);
    println!("{} {} {}", run(LeNet), run(Two), run(Broken));
}
