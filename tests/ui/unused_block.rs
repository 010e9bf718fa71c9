//! A block that nothing calls is checked as far as that goes, and warned of like any dead code.

#![deny(dead_code)]

windlass::network! {
    block never(n) { linear(n) }

    #[allow(dead_code)]
    block kept_for_later(n) { linear(n) }

    pub network A(x: [4]) -> [10] { linear(10) }
}

fn main() {
    println!("{}", A::graph());
}
