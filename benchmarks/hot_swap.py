"""Do 200 snapshots in one evaluator leak memory, and what does swapping one in cost? `python benchmarks/hot_swap.py`

The evaluator itself (`EvaluationLoop`, `Evaluator`, `ImageGenerator`) on the embedded model: one process evaluates the
base model and then snapshots of random weights, as large as the demo's. Printed: resident memory after the 10th and the
last evaluation, and the time from a file on disk to a pipeline proven to hold it, as a share of the time that drawing
takes. The drawing is cut short (`--prompts`, `--inference-steps`) so that 200 fit into minutes; the last snapshots are
then drawn at the demo's own length to give the share there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import tasks
from evaluator.__main__ import build
from evaluator.evaluate import Evaluator
from pocket.lessons.garments import write_concept
from shared.config.loading import load_config
from shared.config.schema import Config
from shared.files.publication import publish
from shared.launch.create import create_run
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora import lora

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "configs" / "pocket_kimono_cpu.toml"
SETTLED = 10
NUM_FULL = 5


def configure(folder: Path, num_prompts: int, num_inference_steps: int) -> Config:
    """The demo's settings, drawing less."""
    write_concept(folder / "kimono")
    return load_config(
        DEMO,
        [
            f"run.output_dir={folder}",
            f"data.path={folder / 'kimono'}",
            f"evaluation.num_prompts={num_prompts}",
            f"evaluation.num_inference_steps={num_inference_steps}",
            "evaluation.confirm_prompts=0",
        ],
    )


def publish_snapshots(run: RunDir, config: Config, count: int) -> None:
    """Snapshots of small random weights, each its own file."""
    model = loading.load_model(config.model, "fp32")
    parts = lora.adapted(model, config.lora)
    lora.attach(parts, config.lora, model.family)
    blueprint, metadata, run_id = lora.state(parts), lora.metadata(parts), run.read_record().run_id
    for step in range(1, count + 1):
        generator = torch.Generator().manual_seed(step)
        weights = {key: 0.02 * torch.randn(value.shape, generator=generator) for key, value in blueprint.items()}
        manifest = Manifest(kind="snapshot", run_id=run_id, step=step)
        publish(run.staging, run.snapshot(step), manifest, lambda stage, w=weights: lora.write(stage, w, metadata))


def evaluate_all(evaluator: Evaluator, count: int) -> list[EvaluationResult]:
    """The base model, then every snapshot."""
    found: list[EvaluationResult] = []
    for step in range(count + 1):
        result = evaluator.evaluate(step)
        assert result, "out of memory"
        assert result.status == "ok", result.reason
        found.append(result)
        if step % 20 == 0:
            print(json.dumps({"step": step, **result.seconds, **result.memory}), file=sys.stderr, flush=True)
    return found


def share(results: list[EvaluationResult]) -> tuple[float, float, float]:
    """Median seconds of a swap and of drawing, and the median of their ratios."""
    swaps, draws = ([result.seconds[stage] for result in results] for stage in ("swap", "generate"))
    ratios = [swap / draw for swap, draw in zip(swaps, draws, strict=True)]
    return statistics.median(swaps), statistics.median(draws), statistics.median(ratios)


def measure(folder: Path, count: int, num_prompts: int, num_inference_steps: int) -> list[EvaluationResult]:
    """One run folder, one process."""
    config = configure(folder, num_prompts, num_inference_steps)
    run = create_run(config, tasks.find(config.run.task))
    publish_snapshots(run, config, count)
    return evaluate_all(build(run), count)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--inference-steps", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.snapshots, options.prompts, options.inference_steps)
    with tempfile.TemporaryDirectory() as folder:
        full = measure(Path(folder), NUM_FULL, 20, 20)
    memory = [result.memory["process_rss_mib"] for result in results]
    settled, last = memory[SETTLED], memory[-1]
    print(f"| resident after snapshot {SETTLED}, MiB | {settled:.1f} |")
    print(f"| after snapshot {options.snapshots}, MiB | {last:.1f} |\n| ratio | {last / settled:.4f} |")
    print(f"| highest after snapshot {SETTLED}, over that | {max(memory[SETTLED:]) / settled:.4f} |")
    for name, found in (("short", results[2:]), ("the demo's", full[2:])):
        swap, drawing, ratio = share(found)
        print(f"| swap, {name} drawing: median s, of s drawing, share | {swap:.3f} | {drawing:.2f} | {ratio:.2%} |")


if __name__ == "__main__":
    main()
