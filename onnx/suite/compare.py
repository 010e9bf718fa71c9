"""Compares exported models with ONNX Runtime: `python compare.py FOLDER`, for a folder that the program `exports` wrote.

It prints the largest difference of each model's outputs, as a part of the largest output. It needs the Python packages
`onnx`, `onnxruntime` and `safetensors`.
"""

import pathlib
import sys

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file

# Relative to the largest output: sums of thousands of products in another order.
BOUND = 2e-5

worst = 0.0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    onnx.checker.check_model(str(path), full_check=True)
    tensors = load_file(path.with_suffix(".safetensors"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {}
    for value in session.get_inputs():
        tensor = tensors[f"input {value.name}"]
        inputs[value.name] = tensor.astype(numpy.int64) if value.type == "tensor(int64)" else tensor
    names = [value.name for value in session.get_outputs()]
    difference = 0.0
    for name, output in zip(names, session.run(names, inputs)):
        expected = tensors[f"output {name}"]
        assert output.shape == expected.shape, (path.stem, name, output.shape, expected.shape)
        largest = numpy.abs(expected).max()
        assert numpy.isfinite(largest) and largest > 0, (path.stem, name, largest)
        difference = max(difference, float(numpy.abs(output - expected).max() / largest))
    worst = max(worst, difference)
    print(f"{path.stem}: {difference:.1e}{'' if difference <= BOUND else '  TOO LARGE'}")
print(f"worst: {worst:.1e}")
sys.exit(worst > BOUND)
