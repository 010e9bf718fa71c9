//! The networks of the zoo have the sizes of the papers' networks: counts as PyTorch gives them for the same layers, and
//! small relatives of the large ones run compiled as interpreted.

#[path = "../examples/zoo/mod.rs"]
mod zoo;

use windlass_compiler::graph::Graph;
use windlass_compiler::summary::summary;

/// A digest of the sizes of all parameters in order of declaration: `digest·31 + size` over every size, and a 0 behind
/// each parameter.
fn digest_of_shapes(graph: &Graph) -> u64 {
    let sizes = graph.parameters().flat_map(|(_, parameter)| parameter.shape.item().into_iter().chain([0]));
    sizes.fold(0, |digest: u64, size| digest.wrapping_mul(31).wrapping_add(size as u64))
}

/// Name, trainable numbers, parameters, digest of their sizes, multiply-adds of one image: from PyTorch 2.15.
const EXPECTED: [(&str, u64, usize, u64, u64); 6] = [
    ("lenet", 61_706, 10, 4_272_422_952_176_198_009, 416_520),
    ("nin", 7_439_608, 24, 14_321_489_288_650_591_523, 965_572_864),
    ("googlenet", 6_998_552, 116, 5_497_182_028_264_745_283, 1_582_671_872),
    ("alexnet", 50_844_008, 16, 3_156_568_337_613_148_099, 1_009_945_728),
    ("vgg11", 132_863_336, 22, 10_943_681_836_854_125_213, 7_609_090_048),
    ("vgg16", 138_357_544, 32, 7_325_391_789_222_938_979, 15_470_264_320),
];

#[test]
fn sizes_are_those_of_the_same_networks_in_pytorch() {
    let found = zoo::NETWORKS.map(|entry| {
        let graph = (entry.graph)();
        let totals = summary(graph).totals;
        (
            entry.name,
            totals.parameters,
            graph.parameters().count(),
            digest_of_shapes(graph),
            totals.multiply_adds,
        )
    });
    assert_eq!(found, EXPECTED);
}
