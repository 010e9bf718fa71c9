//! Mistakes in attention.

windlass::network! {
    network Heads(x: [T, 8], y: [S, 6], vector: [8]) -> [T, 8] {
        from(x); multi_head_attention(3);
        from(x); multi_head_attention(0);
        from(x); multi_head_attention(2, causal = 1);
        from(x); multi_head_attention(8, 2);
        from(x); multi_head_attention;
        from(vector); multi_head_attention(2);
        from(vector); positional_encoding;
        from(x); attention(y, x);
        from(x); attention(x);
        from(x); attention(x, 3);
        from(x); cross_attention(y, 3);
        from(x); cross_attention(vector, 2);
        from(x); cross_attention(2);
        from(x); additive_attention(y, y);
        from(x); additive_attention(y, y, 0);
        from(x); cross_attention(z, 2);
        from(x); self_attention(2)
    }
}

fn main() {}
