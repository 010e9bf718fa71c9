"""Writes tests of models that people use: `python real.py FOLDER`.

It downloads Python packages that contain ONNX models, and writes a folder for each model, as the backend tests of ONNX have: the
model, with the sizes of its inputs fixed, and inputs with the outputs of ONNX Runtime. `WINDLASS_MODELS=FOLDER cargo test -p
windlass-onnx-suite --test real` compares Windlass with them.

It needs `pip`, network access, and the Python packages `onnx`, `onnxruntime` and `pillow`. The models keep the licences of their packages.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import numpy
import onnx
import onnxruntime
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageFont

random = numpy.random.default_rng(0)


def image(*shape):
    """Noise in large and small patches, around zero."""
    large = random.standard_normal(shape[:-2] + (shape[-2] // 8 + 1, shape[-1] // 8 + 1))
    large = large.repeat(8, -2).repeat(8, -1)[..., : shape[-2], : shape[-1]]
    return (0.7 * large + 0.3 * random.standard_normal(shape)).astype(numpy.float32)


def text(height, width, size):
    """Black letters on white, as the networks for text read them: from −1 to 1."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((width // 10, height // 2), "Windlass", fill="black", font=ImageFont.load_default(size), anchor="lm")
    return (numpy.asarray(picture, numpy.float32) / 127.5 - 1).transpose(2, 0, 1)[None].copy()


def speech(steps, samples, context):
    """Pieces of a signal at 16 kHz: two seconds of tones that rise, with pauses, in a little noise. Each begins with the
    last samples of the one before."""
    time = numpy.arange(steps * samples) / 16000
    voiced = (numpy.sin(2 * numpy.pi * 1.5 * time) > 0) * sum(
        numpy.sin(2 * numpy.pi * harmonic * (120 * time + 20 * time**2)) / harmonic for harmonic in range(1, 12)
    )
    signal = (0.2 * voiced + 0.003 * random.standard_normal(len(time))).astype(numpy.float32)
    signal = numpy.concatenate([numpy.zeros(context, numpy.float32), signal])
    return [signal[None, step * samples : (step + 1) * samples + context] for step in range(steps)]


def detector(names):
    """A voice detector reads 32 ms at a time, and passes its state on."""

    def runs(session):
        state = numpy.zeros((2, 1, 128), numpy.float32)
        for piece in speech(20, 512, 64):
            inputs = {"input": piece, "state": state, "sr": numpy.array(16000, numpy.int64)}
            inputs = {name: inputs[name] for name in names}
            outputs = session.run(None, inputs)
            state = outputs[1]
            yield inputs, outputs

    return runs


def once(name, array):
    def runs(session):
        yield {name: array}, session.run(None, {name: array})

    return runs


OCR = "rapidocr_onnxruntime/models/"
VAD = "silero_vad/data/"
MODELS = {
    "mnist_conv": ("qonnx==1.0.0", "qonnx/data/onnx/mnist-conv/model.onnx", once("Input3", 255 * abs(image(1, 1, 28, 28)))),
    "espcn": ("qonnx==1.0.0", "qonnx/data/onnx/bsd300x3-espcn/subpixel/float_model.onnx", once("input", image(1, 3, 4, 4))),
    "silero_vad": ("silero-vad==6.2.3", VAD + "silero_vad.onnx", detector(["input", "state", "sr"])),
    "silero_vad_op18": ("silero-vad==6.2.3", VAD + "silero_vad_op18_ifless.onnx", detector(["input", "sr", "state"])),
    "text_detection": ("rapidocr-onnxruntime==1.4.4", OCR + "ch_PP-OCRv4_det_infer.onnx", once("x", text(160, 224, 40))),
    "text_recognition": ("rapidocr-onnxruntime==1.4.4", OCR + "ch_PP-OCRv4_rec_infer.onnx", once("x", text(48, 160, 34))),
    "text_direction": ("rapidocr-onnxruntime==1.4.4", OCR + "ch_ppocr_mobile_v2.0_cls_infer.onnx", once("x", text(48, 192, 34))),
}


def fixed(model, inputs):
    """The model with the sizes of these inputs."""
    for value in model.graph.input:
        if value.name in inputs:
            del value.type.tensor_type.shape.dim[:]
            for size in inputs[value.name].shape:
                value.type.tensor_type.shape.dim.add().dim_value = size
    return model


def write(folder, path, runs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for index, (inputs, outputs) in enumerate(runs(session)):
        if index == 0:
            folder.mkdir(parents=True, exist_ok=True)
            onnx.save(fixed(onnx.load(str(path)), inputs), str(folder / "model.onnx"))
        data = folder / f"test_data_set_{index}"
        data.mkdir(exist_ok=True)
        names = [output.name for output in session.get_outputs()]
        for kind, arrays in (("input", inputs.items()), ("output", zip(names, outputs))):
            for number, (name, array) in enumerate(arrays):
                (data / f"{kind}_{number}.pb").write_bytes(numpy_helper.from_array(array, name).SerializeToString())


def main(target):
    with tempfile.TemporaryDirectory() as downloads:
        for name, (package, path, runs) in MODELS.items():
            unpacked = pathlib.Path(downloads) / package
            if not unpacked.is_dir():
                wheels = pathlib.Path(downloads) / "wheels"
                shutil.rmtree(wheels, ignore_errors=True)
                pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), package]
                subprocess.run(pip, check=True)
                zipfile.ZipFile(next(wheels.glob("*.whl"))).extractall(unpacked)
            write(target / name, unpacked / path, runs)
            print(f"{name}: {path}, of {package}")


main(pathlib.Path(sys.argv[1]))
