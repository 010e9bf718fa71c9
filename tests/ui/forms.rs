//! Mistakes in splits, bilinear forms, connections and distances.

windlass::network! {
    network Splits(image: [5, 4, 4]) -> [5, 4, 4] {
        let image = it;
        let (a, b) = it;
        add(a); add(b);
        let (c: 2, d: 2) = image;
        let (e: 2, f) = image;
        let (g: 0, h: 5) = image;
        let () = image;
        let (i) = relu;
        let (j k) = it;
        add(c); add(d); add(e); add(f); add(g); add(h)
    }

    network Forms(image: [5, 4, 4], x: [4]) -> [6] {
        from(x);
        bilinear(image, 4);
        bilinear(16);
        bilinear(x);
        bilinear(x, 6, bias = 2);
        split(2);
        bilinear(y, 6)
    }

    network Connections(image: [3, 4, 4]) -> [3, 4, 4] {
        let image = it;
        conv2d(3, kernel_size = 1, connections = ((0, 1), (1, 2)));
        from(image);
        conv2d(2, kernel_size = 1, connections = ((0, 1), (1, 3)));
        from(image);
        conv2d(2, kernel_size = 1, connections = ((0, 1), (1, 1)));
        from(image);
        conv2d(2, kernel_size = 1, connections = ((0, 1), ()));
        from(image);
        conv2d(3, kernel_size = 1, groups = 3, connections = ((0), (1), (2)));
        from(image);
        conv2d(3, kernel_size = 1, connections = some);
        from(image);
        rbf(3);
        from(image);
        rbf(0);
        from(image);
        conv2d(3, kernel_size = 1, rotated = 180)
    }
}

fn main() {}
