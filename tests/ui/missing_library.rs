//! A library that does not exist is an unknown macro.

windlass::network! {
    use crate::residual::basic;

    network A(image: [3, 8, 8]) -> [3, 8, 8] { basic(3) }
}

fn main() {}
