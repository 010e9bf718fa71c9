//! The mistakes of a library are reported once, and not where its blocks are used.

windlass::network! {
    library broken;

    block wide(channels) { conv2d(channels, kernel = 3) }
}

windlass::network! {
    use broken::wide;

    pub network A(image: [3, 8, 8]) -> [4, 6, 6] { wide(4) }
}

fn main() {
    println!("{:?}", A::graph());
}
