//! Items without their keyword, and names that are taken.

windlass::network! {
    Net(x: [4]) -> [4] { relu }

    head(classes) { linear(classes) }

    network f32(x: [4]) -> [4] { relu }

    #[derive(Clone)]
    #[inline]
    block decorated() { relu }
}

fn main() {
    println!("{}", Net::graph());
}
