#!/usr/bin/env bash
# Makes a virtual environment with the peers in it (about a minute): setup.sh [DIR], default ~/.cache/windlass-peers.
set -euo pipefail
dir=${1:-$HOME/.cache/windlass-peers}
python3 -m venv "$dir"
"$dir/bin/pip" install -q --upgrade pip
"$dir/bin/pip" install -q numpy==2.4.6 torch==2.15.0 onnx==1.20.1 onnxruntime==1.31.1 openvino==2026.4.1 safetensors ncnn==1.0.20261020 pnnx==20261020
echo "run: $dir/bin/python $(dirname "$0")/peers.py infer --threads 1 lenet"
