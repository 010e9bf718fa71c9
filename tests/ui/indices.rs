//! Layers that take numbers but get indices, and the other way round; and mistakes in inputs of indices.

windlass::network! {
    network Numbers(tokens: [35] of index) -> [35, 10] {
        linear(10)
    }

    network Activated(tokens: [T] of index) -> [T, 8] {
        relu; embedding(100, 8)
    }

    network Indices(x: [35]) -> [35, 8] {
        embedding(100, 8)
    }

    network Twice(tokens: [T] of index) -> [T, 8] {
        embedding(100, 8); embedding(100, 8)
    }

    network Added(tokens: [4] of index, x: [4]) -> [4] {
        from(x); add(tokens)
    }

    network Named(tokens: [T] of tokens) -> [T, 8] {
        embedding(100, 8)
    }

    network Unnamed(tokens: [T] of) -> [T, 8] {
        embedding(100, 8)
    }

    network Empty(tokens: [] of index, weight: []) -> [8] {
        from(tokens); embedding(0, 8); add(weight)
    }

    network Output(tokens: [T] of index) -> (next: [T] of index) {
        slice(0, 1); next = it;
    }

    network Single(tokens: [T] of index) -> [T] of index {
        embedding(100, 8)
    }

    network Whole(tokens: [4] of index) -> [2] {
        slice(0, 2)
    }

    network Other(tokens: [T] of index) -> [T, 8] {
        embedding(num_embeddings = 100, embedding_dim = 8)
    }
}

fn main() {}
