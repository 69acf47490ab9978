#!/bin/bash
# Train on a pod of RunPod. Runs on the pod, as its start command; a pod that is stopped, or taken away, is started with
# the same command and resumes the run, which lies on the network volume at /workspace.
#
#   runpodctl create pod --name darkroom --gpuType "NVIDIA L4" --imageName pytorch/pytorch:latest --volumePath /workspace \
#       --networkVolumeId VOLUME --args "bash -c 'cd /workspace/darkroom && CONFIG=my.toml NAME=my bash examples/clusters/runpod.sh'"
set -uo pipefail

: "${CONFIG:?give CONFIG=my.toml}" "${NAME:?give NAME=my}"
cd "${DARKROOM:-/workspace/darkroom}" || exit 2
if [ ! -x .venv/bin/python ]; then
  python -m venv .venv && .venv/bin/python -m pip install --constraint constraints.txt --editable . || exit 1
fi

trap '.venv/bin/python run.py stop "runs/$NAME" --now' TERM INT # RunPod ends a pod with SIGTERM
.venv/bin/python run.py train "$CONFIG" --no-dashboard &
training=$!
while kill -0 "$training" 2>/dev/null; do
  wait "$training"
done
