//! Separators other than `;`: one error for a body, and no second one about shapes.

windlass::network! {
    network Commas(image: [3, 8, 8]) -> [10] {
        conv2d(16, kernel_size = 3), relu, flatten, linear(10)
    }

    network Dots(image: [3, 8, 8]) -> [10] {
        conv2d(16, kernel_size = 3).relu().flatten.linear(10)
    }

    network Braces(image: [3, 8, 8]) -> [10] {
        repeat 2 { conv2d(16, 3), relu }, flatten, linear(10)
    }
}

fn main() {}
