#!/usr/bin/env bash
# Makes a virtual environment with TensorFlow in it, a stronger peer than PyTorch for some training steps: setup_tensorflow.sh [DIR].
set -euo pipefail
dir=${1:-$HOME/.cache/windlass-peers-tensorflow}
python3 -m venv "$dir"
"$dir/bin/pip" install -q --upgrade pip
"$dir/bin/pip" install -q tensorflow-cpu==2.21.0
echo "run: $dir/bin/python $(dirname "$0")/peers_tensorflow.py --threads 1 --batch 8 resnet18"
