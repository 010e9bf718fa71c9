//! Mistakes in attention.

windlass::network! {
    network Heads(x: [T, 8], y: [S, 6], vector: [8]) -> [T, 8] {
        from(x);
        multi_head_attention(3);
        multi_head_attention(0);
        multi_head_attention(2, causal = 1);
        multi_head_attention(8, 2);
        multi_head_attention;
        from(vector);
        multi_head_attention(2);
        positional_encoding;
        from(x);
        attention(y, x);
        attention(x);
        attention(x, 3);
        cross_attention(y, 3);
        cross_attention(vector, 2);
        cross_attention(2);
        additive_attention(y, y);
        additive_attention(y, y, 0);
        cross_attention(z, 2);
        self_attention(2)
    }
}

fn main() {}
