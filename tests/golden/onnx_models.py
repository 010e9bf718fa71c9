"""Writes the ONNX models of `tests/onnx`, with inputs and the outputs of ONNX Runtime.

Run in this folder, with torch, onnx, onnxruntime and safetensors: python onnx_models.py
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from torch import nn

FOLDER = Path("../onnx")


def write(name, network, input, axes, legacy=False, external=False):
    path = FOLDER / f"{name}.onnx"
    network.eval()
    if legacy:
        torch.onnx.export(network, (input,), path, dynamo=False, input_names=["input"], output_names=["output"],
                          dynamic_axes={"input": axes, "output": {0: "batch"}}, opset_version=20,
                          # Batch normalisation stays one.
                          training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    else:
        names = {axis: torch.export.Dim(size) for axis, size in axes.items()}
        program = torch.onnx.export(network, (input,), dynamo=True, dynamic_shapes=(names,), verbose=False)
        program.save(path)
    model = onnx.load(path)
    # Nothing of the machine that wrote it.
    model.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for part in [*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]:
        part.doc_string = ""
        del part.metadata_props[:]
    path.unlink()
    path.with_suffix(".onnx.data").unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=external, location=f"{name}.weights", size_threshold=0)
    session = onnxruntime.InferenceSession(path)
    tensors = {"input": input.numpy()}
    outputs = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    tensors["output"] = outputs[0]
    if tensors["input"].dtype == np.int64:
        tensors["input"] = tensors["input"].astype(np.int32)
    save_file(tensors, FOLDER / f"{name}.safetensors")


class Last(nn.Module):
    """A linear layer on the last state of a recurrent one."""

    def __init__(self, recurrent, states):
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(states, 3)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


class Tokens(nn.Module):
    """A transformer encoder on tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(7)
    FOLDER.mkdir(exist_ok=True)
    residual = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
    cnn = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(3, 2, 1),
        residual, nn.Conv2d(8, 12, 1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    write("cnn", cnn, torch.randn(2, 3, 17, 15), {0: "batch"}, legacy=True)
    lstm = Last(nn.LSTM(6, 5, batch_first=True, bidirectional=True, num_layers=2), 10)
    write("lstm", lstm, torch.randn(3, 4, 6), {0: "batch", 1: "steps"}, legacy=True)
    write("gru", Last(nn.GRU(6, 5, batch_first=True), 5), torch.randn(2, 4, 6), {0: "batch", 1: "steps"}, legacy=True)
    write("transformer", Tokens(), torch.randint(0, 20, (2, 6)), {0: "batch", 1: "steps"})
    upsampling = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(0.1), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1), nn.InstanceNorm2d(2, affine=True),
        nn.Softmax(1))
    write("upsampling", upsampling, torch.randn(1, 1, 6, 5), {}, legacy=True)
    mlp = nn.Sequential(nn.Linear(7, 9), nn.LayerNorm(9), nn.SiLU(), nn.Linear(9, 2))
    write("external", mlp, torch.randn(4, 7), {0: "batch"}, external=True)


if __name__ == "__main__":
    main()
