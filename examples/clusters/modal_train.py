"""Train on Modal: `modal run examples/clusters/modal_train.py --config my.toml`.

The run folder lies on a volume. A session that Modal ends is started again, and the same command resumes the run.
"""

from __future__ import annotations

import subprocess

import modal  # pyright: ignore[reportMissingImports]

HOURS = 3600
app = modal.App("darkroom")
volume = modal.Volume.from_name("darkroom-runs", create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="3.11")
    .add_local_dir(".", "/darkroom", copy=True, ignore=[".git", ".venv", "runs"])
    .run_commands("cd /darkroom && pip install --constraint constraints.txt --editable .")
)


@app.function(
    image=image,
    gpu="L4",
    cpu=8,
    memory=32768,
    timeout=12 * HOURS,
    volumes={"/runs": volume},
    retries=modal.Retries(max_retries=10, initial_delay=10.0, backoff_coefficient=1.0),
)
def train(config: str) -> None:
    """One session. The time limit lets the run save before Modal ends the session; the next one goes on."""
    limit = 12 * HOURS - 600
    command = ["python", "run.py", "train", config, "run.output_dir=/runs", f"stop.max_train_seconds={limit}"]
    try:
        subprocess.run([*command, "--no-dashboard"], cwd="/darkroom", check=True)
    finally:
        volume.commit()


@app.local_entrypoint()
def main(config: str) -> None:
    """config: a TOML file inside the repository."""
    train.remote(config)  # pyright: ignore[reportFunctionMemberAccess]
