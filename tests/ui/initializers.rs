windlass::network! {
    network A(x: [4]) -> [10] {
        linear(10, init = xavier);
        linear(10, init = gaussian(0, 1));
        linear(10, init = normal(0));
        linear(10, init = normal(0, -1));
        linear(10, init = uniform(1, -1));
        linear(10, init = zeros(4));
        linear(10, init = 0);
        linear(10, init = constant(1e999))
    }
}

fn main() {}
