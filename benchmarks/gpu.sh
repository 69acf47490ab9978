#!/bin/sh
# How fast is Darkroom on this machine's GPU? True shapes of SD 1.5, SDXL, FLUX.2 klein and Z-Image with random weights:
# nothing is downloaded. Below ten minutes on a data centre's card; 30 GB of memory on the card, 25 GB on the disk.
# `benchmarks/gpu.sh --dry` runs the same on miniatures and the CPU, to see that it works.
set -eu
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
exec "${PYTHON:-.venv/bin/python}" benchmarks/gpu.py "$@"
