#!/bin/bash
# Train as a job of the Hugging Face hub, whose machine has no disk that stays: the run is kept up in a data set repository,
# and brought back by the next job. Start the same command again until the run is complete.
#
#   CONFIG=my.toml NAME=my KEEP=hf://datasets/OWNER/runs/my bash examples/clusters/hf_jobs.sh
set -euo pipefail

: "${CONFIG:?give CONFIG=my.toml}" "${NAME:?give NAME=my}" "${KEEP:?give KEEP=hf://datasets/OWNER/runs/my}"
source_code=${SOURCE:?give SOURCE=https://… of a clone that the job can read}

read -r -d '' work <<'WORK' || true
set -euo pipefail
git clone --depth 1 "$SOURCE" darkroom && cd darkroom
pip install --quiet --constraint constraints.txt --editable .
python run.py copy "$KEEP" "runs/$NAME" || echo "nothing to bring back: a new run"
(until [ -f "runs/$NAME/run.json" ]; do sleep 5; done; python run.py copy "runs/$NAME" "$KEEP" --follow) &
keeping=$!
python run.py train "$CONFIG" --no-dashboard stop.max_train_seconds=20400
wait "$keeping"
WORK

hf jobs run --flavor l4x1 --timeout 6h --secrets HF_TOKEN --detach \
  --env "CONFIG=$CONFIG" --env "NAME=$NAME" --env "KEEP=$KEEP" --env "SOURCE=$source_code" \
  pytorch/pytorch:latest bash -c "$work"
