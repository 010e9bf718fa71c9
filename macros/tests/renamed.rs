//! Programs that know Windlass by another name: this package has no dependency called `windlass`.

/// Windlass, re-exported under one more name.
mod facade {
    pub(crate) use nn::*;
}

nn::network! {
    crate = ::nn;

    /// The blocks of a library use the same name.
    library layers;

    block dense(width) { linear(width); relu }
}

nn::network! {
    crate = crate::facade;

    use layers::dense;

    network Several(left: [3], tokens: [2] of index) -> (class: [4], sum: [3]) {
        from(tokens); embedding(10, 3); flatten; linear(3);
        let words = it;
        add(left, words);
        sum = it;
        dense(8); linear(4);
        class = it;
    }
}

nn::network! {
    crate = nn;

    network Single(x: [4]) -> [2] { linear(2) }
}

#[test]
fn networks_run_under_any_name() -> Result<(), nn::Error> {
    let model = Single::model(1)?;
    assert_eq!(model.forward(&[0.5; 8])?.shape(), [2, 2]);
    let summary: nn::Summary = Single::summary();
    assert_eq!(summary.totals.parameters, 10);
    Ok(())
}
