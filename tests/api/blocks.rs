//! Blocks with defaults, layers as arguments, conditions, indices of `repeat` and sizes of the current value: each network
//! has the graph of one that is written out.

use windlass::{Network, network};

network! {
    /// A convolution whose stride and activation may be left out.
    block unit(channels, stride = 1, activation = relu) {
        conv: conv2d(channels, kernel_size = 3, stride = stride, padding = 1); activation
    }

    /// A residual block that adapts its shortcut.
    block residual(channels, stride = 1) {
        let input = it;
        unit(channels, stride = stride);
        let main = it;
        from(input);
        if stride > 1 || channels != it.channels {
            shortcut: conv2d(channels, kernel_size = 1, stride = stride)
        }
        add(main)
    }

    network Short(image: [3, 8, 8]) -> [10] {
        u1: unit(4);
        u2: unit(it.channels * 2, activation = silu);
        r1: residual(8);
        r2: residual(16, stride = 2);
        steps: repeat i in 3 { conv2d(16 + 4 * i, kernel_size = 1) }
        if it.height * it.width < 10 { max_pool2d(2) } else if it.height == 4 { avg_pool2d(2) } else { relu }
        flatten;
        if it.features == 96 { f1: linear(10) } else { f1: linear(11) }
    }
}

network! {
    block unit(channels, stride) { conv: conv2d(channels, kernel_size = 3, stride = stride, padding = 1); relu }

    block smooth_unit(channels) { conv: conv2d(channels, kernel_size = 3, padding = 1); silu }

    network Long(image: [3, 8, 8]) -> [10] {
        u1: unit(4, 1);
        u2: smooth_unit(8);
        let a = it;
        r1: unit(8, 1);
        let b = it;
        from(a); sum1: add(b);
        let c = it;
        r2: unit(16, 2);
        let d = it;
        from(c);
        r2s: conv2d(16, kernel_size = 1, stride = 2); sum2: add(d);
        s0: conv2d(16, kernel_size = 1); s1: conv2d(20, kernel_size = 1); s2: conv2d(24, kernel_size = 1);
        avg_pool2d(2); flatten;
        f1: linear(10)
    }
}

/// A graph without the names and labels of its layers, which the two networks name differently.
fn unlabelled<N: Network>() -> Vec<String> {
    let text = N::graph().to_string();
    let lines = text.lines().skip(1).map(|line| line.split(" @").next().unwrap_or_default());
    let unnamed = |line: &str| match line.split_once("name = \"") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('"').map_or("", |(_, after)| after)),
        None => line.to_owned(),
    };
    lines.map(unnamed).collect()
}

#[test]
fn shorter_declarations_have_the_same_graph() {
    assert_eq!(unlabelled::<Short>(), unlabelled::<Long>());
    let names: Vec<&str> = Short::PARAMETERS.iter().map(|(name, _)| *name).collect();
    for name in ["u2.conv.weight", "r2.shortcut.bias", "steps.2.conv2d1.weight", "f1.weight"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}
