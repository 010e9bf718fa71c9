use windlass::network;

network! {
    network NoSequence(n: [] of index) -> [4] { scan (h: [4]) { add(h); h = it; } }
}

network! {
    network Lengths(x: [T, 4], y: [S, 4]) -> [T, 4] {
        from(x);
        scan (h: [4], other in y) { add(h); add(other); h = it; }
    }
}

network! {
    network OtherShape(x: [T, 4]) -> [T, 4] { scan (h: [8]) { add(h); h = it; } }
}

network! {
    network NewShape(x: [T, 4]) -> [T, 8] { scan (h: [4]) { add(h); linear(8); h = it; } }
}

network! {
    network NeverAssigned(x: [T, 4]) -> [T, 4] { scan (h: [4]) { add(h); linear(4) } }
}

network! {
    network NeverUsed(x: [T, 4]) -> [T, 4] { scan (h: [4], z in x) { h = it; } }
}

network! {
    network Twice(x: [T, 4]) -> [T, 4] { scan (h: [4], h: [4]) { add(h); h = it; h = it; } }
}

network! {
    network Misspelt(x: [T, 4]) -> [T, 4] { scan (hidden: [4]) { add(hidden); hiden = it; } }
}

network! {
    network Output(x: [T, 4]) -> (y: [T, 4]) { scan (h: [4]) { add(h); h = it; y = it; } y = it; }
}

network! {
    network Named(x: [T, 4]) -> [T, 4] { scan (h: [4]) { add(h); linear(4); let h = it; h = it; } }
}

network! {
    network NoBody(x: [T, 4]) -> [T, 4] { scan (h: [4]); relu }
}

network! {
    network NoBrackets(x: [T, 4]) -> [T, 4] { scan (h: 4) { add(h); h = it; } }
}

network! {
    network Bare(x: [T, 4]) -> [T, 4] { scan (h) { add(h); h = it; } }
}

network! {
    network Open(x: [T, 4]) -> [T, 4] { scan (h: [T]) { add(h); h = it; } }
}

network! {
    network Statistics(x: [T, 4, 5]) -> [T, 4, 5] { scan (h: [4, 5]) { batch_norm; add(h); h = it; } }
}

network! {
    network Unused(x: [T, 4]) -> [T, 4] { scan (h: [4]) { add(h); let z = it; linear(3); from(z); h = it; } }
}

network! {
    network Shared(x: [T, 4]) -> [T, 4] { f: linear(4); scan (h: [4]) { share(f); add(h); h = it; } }
}

network! {
    network Wrong(x: [T, 4]) -> [T, 4] { scan (h: [4]) { linear(5); add(h); h = it; } }
}

network! {
    network States(x: [T, 4]) -> [4] { r: lstm(4); let h = r.states; from(h) }
}

network! {
    network NoStates(x: [T, 4]) -> [T, 4] { r: linear(4); let h = r.states; add(h) }
}

network! {
    network Unlabelled(x: [T, 4]) -> [4] { cell: gru(4); let h = cel.states; from(h) }
}

network! {
    network Initial(x: [T, 4], h: [3]) -> [T, 4] { from(x); lstm(4, initial = h) }
}

network! {
    network InitialShape(x: [T, 4], h: [3]) -> [T, 4] { from(x); gru(4, initial = h) }
}

network! {
    network InitialNumber(x: [T, 4]) -> [T, 4] { gru(4, initial = 0) }
}

network! {
    network LengthsType(x: [T, 4], n: [1]) -> [T, 4] { from(x); gru(4, lengths = n) }
}

network! {
    network LengthsName(x: [T, 4], n: [] of index) -> [T, 4] { from(x); multi_head_attention(2, mask = n) }
}

fn main() {}
