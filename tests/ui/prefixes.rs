//! Layers with the prefix of a module.

windlass::network! {
    network A(image: [3, 4, 4]) -> [10] {
        nn.Conv2d(3, 8, 3);
        torch.nn::ReLU();
        nn::Mish;
        nn.Flatten();
        head: nn.Linear(10)
    }
}

fn main() {}
