//! A network with two inputs and two outputs.

use windlass::network;

network! {
    pub(crate) network Pair(left: [2], right: [3]) -> (sum: [2], scores: [4]) {
        from(right); r1: linear(2);
        let seen = it;
        add(left); sum = it;
        from(seen); s1: linear(4); softmax; scores = it;
    }
}
