//! Two networks of one name, from two calls of the macro.

windlass::network! {
    pub network A(x: [4]) -> [4] { relu }
}

windlass::network! {
    pub network A(x: [8]) -> [8] { tanh }
}

fn main() {
    println!("{} {:?}", A::graph(), A::X_SHAPE);
}
