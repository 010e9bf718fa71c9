//! Nesting that is too deep is rejected before parsing; the rest of the program still resolves.

macro_rules! nested {
    ($name:ident, $number:expr) => {
        windlass::network! { pub(crate) network $name(x: [4]) -> [4] { linear($number) } }
    };
}

windlass::network! {
    /// Brackets, in the second network.
    #[derive(PartialEq)]
    pub network First(x: [4]) -> [4] { relu }

    network Brackets(x: [4]) -> [4] {
        linear((((((((((((((((((((((((((((((((((((((((((((((((((4))))))))))))))))))))))))))))))))))))))))))))))))))
    }
}

windlass::network! {
    network Braces(x: [4]) -> [4] {
        repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 {
        repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 {
        repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 {
        repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 {
        repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 { repeat 1 {
            relu
        }}}}}}}}}} }}}}}}}}}} }}}}}}}}}} }}}}}}}}}} }}}}}}}}}}
    }
}

nested!(Sound, 2 + 2);

fn main() {
    println!("{:?} {:?} {:?} {:?}", First::graph(), Brackets::graph(), Braces::graph(), Sound::X_SHAPE);
}
