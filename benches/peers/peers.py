#!/usr/bin/env python3
"""Times the peers on this machine: PyTorch, ONNX Runtime, OpenVINO and ncnn, one JSON line a case.

    peers.py infer --threads 1 --batch 1 lenet vgg16 ...
    peers.py train --threads 1 --batch 8 googlenet ...        (PyTorch: forward, backward, SGD step)
    peers.py recurrent --threads 1                            (RNN, GRU, LSTM: inference and training)

A line: {"case": "vgg16", "mode": "infer", "batch": 1, "threads": 1, "peer": "openvino", "ms": 149.1}
`ms` is the median of at least five runs after two warm-up runs. Machines are noisy: compare only
figures of one session, those of other libraries and of Windlass in turn, as compare.py measures them.
"""
import argparse
import json
import statistics
import os
import subprocess
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
import numpy
import torch
import torch.nn.functional as F
import onnxruntime
import openvino
import models


def median_ms(step, budget):
    step(); step()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < budget and len(times) < 5000):
        t = time.perf_counter(); step(); times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


def emit(**line):
    print(json.dumps(line), flush=True)


def onnx_file(module, x):
    path = tempfile.mktemp(suffix=".onnx")
    torch.onnx.export(module, x, path, dynamo=False)
    return path


def ort_ms(path, x, threads, budget):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return median_ms(lambda: session.run(None, feed), budget)


def openvino_ms(path, x, threads, budget):
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request, array = compiled.create_infer_request(), x.numpy()
    return median_ms(lambda: request.infer({0: array}, share_inputs=True, share_outputs=True), budget)


def ncnn_ms(module, x, threads, budget):
    """ncnn uses Winograd's method for 3x3 convolutions, as ONNX Runtime and OpenVINO do not. Batch 1 only."""
    import ncnn
    with tempfile.TemporaryDirectory() as folder:
        torch.jit.trace(module, x).save(os.path.join(folder, "m.pt"))
        pnnx = os.path.join(os.path.dirname(sys.executable), "pnnx")
        subprocess.run([pnnx, "m.pt", "inputshape=" + str(list(x.shape)).replace(" ", ""), "fp16=0"], cwd=folder, check=True, capture_output=True)
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
        net.load_param(os.path.join(folder, "m.ncnn.param"))
        net.load_model(os.path.join(folder, "m.ncnn.bin"))
    array = x[0].numpy()  # must outlive the matrix made of it
    given = ncnn.Mat(array)

    def step():
        extractor = net.create_extractor()
        extractor.input("in0", given)
        return extractor.extract("out0")[1]
    with torch.no_grad():
        want = module(x)[0]
    error = abs(numpy.array(step()).reshape(want.shape) - want.numpy()).max() / want.abs().max()
    if not error < 1e-3:
        raise RuntimeError(f"ncnn is wrong by {error}")
    return median_ms(step, budget)


def infer(args):
    for case in args.cases:
        module, shape = models.CNN[case]()
        module.eval()
        x = torch.randn(args.batch, *shape)
        def say(peer, ms):
            emit(case=case, mode="infer", batch=args.batch, threads=args.threads, peer=peer, ms=ms)
        path = onnx_file(module, x)
        if args.batch == 1:
            try:
                say("ncnn", ncnn_ms(module, x, args.threads, args.budget))
            except Exception as error:
                print(f"ncnn: {case}: {error}", file=sys.stderr)
        with torch.no_grad():
            best = median_ms(lambda: module(x), args.budget)
            if len(shape) == 3:
                last, xl = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
                best = min(best, median_ms(lambda: last(xl), args.budget))
            say("pytorch", best)
        say("onnxruntime", ort_ms(path, x, args.threads, args.budget))
        say("openvino", openvino_ms(path, x, args.threads, args.budget))


def train(args):
    for case in args.cases:
        best = []
        for layout in (torch.contiguous_format, torch.channels_last):
            module, shape = models.CNN[case]()
            if len(shape) != 3 and best:
                continue
            module = module.train().to(memory_format=layout)
            x = torch.randn(args.batch, *shape).to(memory_format=layout)
            y = torch.randint(0, 10, (args.batch,))
            optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
            def step():
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(module(x), y).backward()
                optimizer.step()
            best.append(median_ms(step, args.budget))
        emit(case=case, mode="train", batch=args.batch, threads=args.threads, peer="pytorch", ms=min(best))


def recurrent(args):
    for kind in ("RNN", "GRU", "LSTM"):
        for shape in models.RECURRENT_SHAPES:
            steps, batch, features, hidden, layers, both = shape
            case = f"{kind.lower()}-t{steps}-i{features}-h{hidden}-l{layers}{'-bi' if both else ''}"
            module = models.Recurrent(kind, features, hidden, layers, both).eval()
            x = torch.randn(steps, batch, features)
            def say(mode, peer, ms):
                emit(case=case, mode=mode, batch=batch, threads=args.threads, peer=peer, ms=ms)
            with torch.no_grad():
                say("infer", "pytorch", median_ms(lambda: module(x), args.budget))
            say("infer", "onnxruntime", ort_ms(onnx_file(module, x), x, args.threads, args.budget))
            module.train()
            optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
            def step():
                optimizer.zero_grad(set_to_none=True)
                (module(x) ** 2).mean().backward()
                optimizer.step()
            say("train", "pytorch", median_ms(step, args.budget))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("mode", choices=["infer", "train", "recurrent"])
parser.add_argument("cases", nargs="*", default=None)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--budget", type=float, default=2.0, help="seconds a figure")
args = parser.parse_intermixed_args()
args.cases = args.cases or list(models.CNN)
torch.set_num_threads(args.threads)
dict(infer=infer, train=train, recurrent=recurrent)[args.mode](args)
