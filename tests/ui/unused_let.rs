windlass::network! {
    block residual(channels) {
        let skip = it;
        conv2d(channels, kernel_size = 3, padding = 1)
    }

    network A(image: [8, 4, 4]) -> [8, 4, 4] {
        let start = it;
        let _kept_for_later = it;
        residual(8); residual(8)
    }
}

fn main() {}
