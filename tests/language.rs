//! Graphs declared with `network!` are the graphs that the builder makes by hand, and their types are as documented.

use windlass::{Network, network};
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;

network! {
    /// LeNet for grey images of 28×28.
    pub network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        flatten;
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        linear(10)
    }
}

fn lenet() -> Result<Graph, GraphError> {
    let mut b = Builder::new("LeNet");
    let x = b.input("image", &[1, 28, 28])?;
    let x = b.layer("c1", &Layer::conv2d(6, Window::square(5, 1, 2)), x)?;
    let x = b.layer("sigmoid1", &Layer::Sigmoid, x)?;
    let x = b.layer("avg_pool2d1", &Layer::AvgPool2d(Window::square(2, 2, 0)), x)?;
    let x = b.layer("c3", &Layer::conv2d(16, Window::square(5, 1, 0)), x)?;
    let x = b.layer("sigmoid2", &Layer::Sigmoid, x)?;
    let x = b.layer("avg_pool2d2", &Layer::AvgPool2d(Window::square(2, 2, 0)), x)?;
    let x = b.layer("flatten1", &Layer::Flatten, x)?;
    let x = b.layer("f5", &Layer::linear(120), x)?;
    let x = b.layer("sigmoid3", &Layer::Sigmoid, x)?;
    let x = b.layer("f6", &Layer::linear(84), x)?;
    let x = b.layer("sigmoid4", &Layer::Sigmoid, x)?;
    let x = b.layer("linear1", &Layer::linear(10), x)?;
    b.output("output", x)?;
    b.finish()
}

#[test]
fn lenet_is_the_graph_built_by_hand() {
    assert_eq!(*LeNet::graph(), lenet().unwrap());
}
