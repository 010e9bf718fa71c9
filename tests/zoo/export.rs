//! The small networks return from ONNX models. The program `exports` of the ONNX suite exports all networks.

use windlass::{Dynamic, Model};

use crate::zoo;

#[test]
fn small_networks_return_from_onnx() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::TempDir::new()?;
    let path = folder.path().join("net.onnx");
    for entry in zoo::SMALL_NETWORKS {
        let network = Dynamic::new((entry.graph)().clone())?;
        let model = network.model(1)?;
        model.to_onnx(&path)?;
        let again = Model::from_onnx(&path)?;
        for (own, found) in network.outputs().zip(again.network().outputs()) {
            assert_eq!(own, found, "{}", entry.name);
        }
        let (input, shape) = network.inputs().next().ok_or("a network has an input")?;
        let count: usize = shape.item().iter().product();
        let x: Vec<f32> = (0..2 * count).map(|index| (index % 17) as f32 / 8.0 - 1.0).collect();
        let (expected, found) = (model.forward([(input, &x)])?, again.forward([(input, &x)])?);
        for (expected, found) in expected.into_arrays().iter().zip(found.into_arrays()) {
            let largest = expected.iter().fold(0f32, |most, number| most.max(number.abs()));
            let most = expected.iter().zip(&found).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            // Passes may order sums in another way.
            assert!(largest > 0.0 && most <= 1e-6 * largest, "{}: {most} of {largest}", entry.name);
        }
    }
    Ok(())
}
