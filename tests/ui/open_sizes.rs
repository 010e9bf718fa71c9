//! Open sizes are names of inputs' sizes; depending on them at compile time is an error.

windlass::network! {
    network Batch(frames: [T, N, 4]) -> [T, N, 4] { relu }

    network Computed(frames: [T * 2, 4]) -> [T * 2, 4] { relu }

    network Unknown(frames: [T, 4]) -> [S, 4] { relu }

    network Length(frames: [T, 40]) -> [5] { linear(5) }

    network Longer(frames: [Frames, 40]) -> [Frames + 1, 5] { linear(5) }

    network Last(frames: [40, T]) -> [40, 5] { linear(5) }

    network Norm(frames: [T, 40]) -> [T, 40] { batch_norm }

    network Image(image: [3, H, W]) -> [8, H, W] { conv2d(8, kernel_size = 3, padding = 1) }

    network Sum(left: [T, 4], right: [S, 4]) -> [T, 4] { from(left); add(right) }

    network Long(frames: [LONGER_THAN_FIFTEEN, 4]) -> [4] { relu }
}

fn main() {}
