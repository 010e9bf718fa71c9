windlass::network! {
    network A(x: [4]) -> [4] {
        linear(4) relu;
        linear(4, kernel_size = );
        let y = linear(4);
        42;
        concat { relu; linear(4) };
        f: from(x);
        relu
    }

    network B(x) -> [4] { relu }

    network C(x: 4) -> [4] { relu }

    network D(x: [4]) -> 4 { relu }

    netwrk E(x: [4]) -> [4] { relu }

    pub block f() { relu }

    network F
}

fn main() {}
