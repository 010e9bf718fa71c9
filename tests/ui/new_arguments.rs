use windlass::network;

fn main() {}

network! {
    network Padding(image: [3, 8, 8]) -> [8, 8, 8] {
        let image = it;
        conv2d(8, kernel_size = 3, padding = sane);
        from(image);
        conv2d(8, kernel_size = 3, padding = (1, 2, 3));
        from(image);
        conv2d(8, kernel_size = 3, padding = ((1, 1), (1, 1, 1)));
        from(image);
        max_pool2d(3, stride = 1, padding = ((0, 3), 1));
        from(image);
        pad2d(8, mode = reflect);
        from(image);
        pad2d(1, mode = mirror)
    }

    network Transposed(image: [4, 8, 8]) -> [4, 16, 16] {
        let image = it;
        conv_transpose2d(4, kernel_size = 2, stride = 2, output_padding = 2);
        from(image);
        conv_transpose2d(5, kernel_size = 2, stride = 2, groups = 2);
        from(image);
        conv_transpose2d(4, kernel_size = 3, padding = 9);
        from(image);
        conv_transpose2d(0, kernel_size = 2)
    }

    network Pools(image: [3, 6, 6]) -> [3, 1, 1] {
        let image = it;
        adaptive_avg_pool2d(7);
        from(image);
        adaptive_max_pool2d((0, 1));
        from(image);
        max_pool2d(2, ceil_mode = 1);
        from(image);
        lp_pool2d(2, power = 0.5);
        from(image);
        global_max_pool1d
    }

    network Channels(image: [6, 4, 4]) -> [6, 4, 4] {
        let image = it;
        pixel_shuffle(2);
        from(image);
        channel_shuffle(4);
        from(image);
        group_norm(5);
        from(image);
        local_response_norm(0);
        from(image);
        upsample2d(0);
        from(image);
        upsample2d(2, mode = cubic)
    }

    network Axes(image: [6, 4, 4]) -> [6, 4, 4] {
        let image = it;
        reshape(6, 16);
        from(image);
        reshape((6, 17));
        from(image);
        permute((0, 1));
        from(image);
        slice(4, 3);
        from(image);
        mean(3)
    }

    network Combined(image: [6, 4, 4]) -> [6, 4, 4] {
        let image = it;
        let part = it;
        conv2d(5, kernel_size = 1);
        let narrow = it;
        from(image);
        multiply(narrow);
        subtract(narrow);
        multiply(narrow, 1e60);
        add(part)
    }
}
