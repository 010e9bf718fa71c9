//! Mistakes in the use of blocks from a library.

use windlass::network;

mod shared {
    windlass::network! {
        pub(crate) library residual;

        const WIDTH = 8;

        block conv_norm(channels, stride = 1) {
            conv: conv2d(channels, kernel_size = 3, stride = stride, padding = 1, bias = false); norm: batch_norm
        }

        block divided(channels, stride = 8 / channels) { conv2d(channels, kernel_size = 1, stride = stride) }

        block basic(channels) { let skip = it; conv_norm(channels); add(skip); relu }
    }

    windlass::network! {
        pub(crate) library other;

        block conv_norm(channels) { linear(channels) }
    }
}

// Names that the library does not have.
network! {
    use shared::residual::{conv_nrom, bottleneck};

    network A(image: [3, 8, 8]) -> [3, 8, 8] { relu }
}

// One name for two blocks.
network! {
    use shared::residual::{conv_norm, basic};
    use shared::other::conv_norm;

    block basic { relu }

    network B(image: [3, 8, 8]) -> [3, 8, 8] { conv_norm(3); basic(3) }
}

network! {
    use shared::residual::*;
    use shared::other::*;

    network Globs(image: [3, 8, 8]) -> [3, 8, 8] { basic(3) }
}

// Mistakes inside the library's blocks that the arguments cause, and in the arguments.
network! {
    use shared::residual::{WIDTH, basic, conv_norm as norm, divided};

    network C(image: [3, 8, 8]) -> [8, 8, 8] { basic(WIDTH) }

    network D(image: [3, 8, 8]) -> [8, 4, 4] { norm(WIDTH, 2) }

    network Divided(image: [3, 8, 8]) -> [8, 4, 4] { divided(0) }
}

// An import that is never used.
network! {
    use shared::residual::{basic, conv_norm as unused};

    network E(image: [3, 8, 8]) -> [3, 8, 8] { relu }
}

// Syntax.
network! {
    #[allow(unused)]
    use shared::residual::basic;

    use residual;

    network F(image: [3]) -> [3] { relu }
}

network! {
    pub use shared::residual::basic;

    library first;
    library second;

    network G(image: [3, 8, 8]) -> [3, 8, 8] { relu }
}

fn main() {
    println!("{:?} {:?} {:?} {:?}", A::graph(), B::graph(), C::graph(), G::graph());
}
