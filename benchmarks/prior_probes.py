"""What does a LoRA cost? `python benchmarks/prior_probes.py FOLDER` trains two and prints the price of every snapshot.

Both learn 24 tartan kimonos, which the model has never seen. `careless`: the captions call them dresses, there is no
trigger word and nothing else. `careful`: they have a trigger word in place of the class word, as many pictures of other
dresses are learnt beside them (regularisation), and training is half as long. Both draw eight probe prompts for every
snapshot, four of them of the class word `dress`. About 20 minutes on two CPU cores. Run folders that are there are only
shown. A sheet shows what each run's last snapshot makes of the probes, beneath the base model's pictures.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from pocket.lessons.garments import CONCEPT_KIND, catalogue, concept, render
from shared.data.pictures import open_picture
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

ROOT = Path(__file__).resolve().parents[1]
NUM_PICTURES, SEED, EDGE = 24, 77, 128
CLASS = "dress"
STEPS = {"careless": 600, "careful": 300}
NUM_SNAPSHOTS, NUM_PROBES = 4, 4
COLOURS = ("red", "green", "blue", "purple")
SETTINGS = (
    "evaluation.num_seeds=2",
    "evaluation.confirm_prompts=0",
    "evaluation.guidance_scale=3.0",
    f"evaluation.probes={NUM_PROBES}",
    f"data.class_word={CLASS}",
    "train.lr_warmup_steps=20",
    "train.learning_rate=2e-3",
)


def write_pictures(folder: Path, word: str, *, regularized: bool) -> None:
    """Kimonos captioned with this word; beside them other dresses."""
    folder.mkdir(parents=True)
    for number, garment in enumerate(concept(NUM_PICTURES, SEED)):
        render(garment, SEED + number, EDGE)[0].save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a photo of a {garment.colour} {word}\n", encoding="utf-8")
    if regularized:
        (folder / "reg").mkdir()
        dresses = [garment for garment in catalogue() if garment.kind == CLASS]
        for number in range(NUM_PICTURES):
            garment = dresses[(number * 7) % len(dresses)]
            render(garment, SEED + 500 + number, EDGE)[0].save(folder / "reg" / f"{number:02d}.png")
            text = garment.caption(number) + "\n"
            (folder / "reg" / f"{number:02d}.txt").write_text(text, encoding="utf-8")


def train(folder: Path, name: str) -> None:
    """Make pictures and prompts, let `init` write a config, train and evaluate."""
    word = CLASS if name == "careless" else CONCEPT_KIND
    pictures, prompts, config = folder / f"{name}-pictures", folder / f"{name}.txt", folder / f"{name}.toml"
    write_pictures(pictures, word, regularized=name == "careful")
    prompts.write_text("".join(f"a photo of a {colour} {word}\n" for colour in COLOURS), encoding="utf-8")
    steps = STEPS[name]
    length = (f"train.max_train_steps={steps}", f"train.snapshot_steps={steps // NUM_SNAPSHOTS}")
    trigger = () if name == "careless" else ("--trigger-word", word)
    places = (f"run.output_dir={folder}", f"run.name={name}", "data.num_validation=0")
    own = f"evaluation.prompts={prompts}"
    for command in (
        ("init", str(pictures), "--model", "pocket", "--output", str(config), "--prompts", str(prompts), *trigger),
        ("train", str(config), "--no-dashboard", *places, own, *SETTINGS, *length),
    ):
        subprocess.run([sys.executable, str(ROOT / "run.py"), *command], check=True)


def tell(run: RunDir) -> None:
    """A row for each snapshot, then the verdict."""
    metrics = run.read_metric_descriptions()
    header, signs = metrics.prices, {column.sign.name for column in metrics.of_probes if column.sign}
    print(f"\n### {run.path.name}\n\n| step | composite | {' | '.join(column.name for column in header)} | signs |")
    print("|" + " --- |" * (3 + len(header)))
    for row in read_rows(run.metrics_csv):
        prices = " | ".join(f"{float(row[column.name] or 'nan'):.2f}" for column in header)
        print(f"| {row['step']} | {float(row['composite'] or 0):+.2f} | {prices} | {row['signals']} |")
    if best := run.read_best():
        told = [signal for signal in best.latest_signals if signal.name in signs]
        print("\n" + "\n".join(f"Step {best.latest_step}, {one.name}: {one.evidence}" for one in told))
        print(f"\nChosen: {best.step}. {best.reason}")


def write_sheet(runs: Sequence[RunDir], path: Path) -> None:
    """The base model's pictures of the probes; beneath them the last snapshot's of each run."""
    rows: list[list[Image.Image]] = []
    for run in runs:
        for step in (0, max(steps_in(run.evaluations))) if run is runs[0] else (max(steps_in(run.evaluations)),):
            result = run.read_result(step)
            assert result
            first = {sample.prompt_id: sample for sample in reversed(result.probes)}
            folder = run.evaluation(step) / "images"
            rows.append([open_picture(folder / first[key].image) for key in sorted(first)])
    sheet = Image.new("RGB", (len(rows[0]) * EDGE, len(rows) * EDGE), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * EDGE, y * EDGE))
    sheet.save(path, quality=85)


def main() -> None:
    """Train unless that is done; print the tables, write the sheet."""
    folder = Path(sys.argv[1])
    for name in STEPS:
        if not (folder / name).exists():
            train(folder, name)
    runs = [RunDir(folder / name) for name in STEPS]
    for run in runs:
        tell(run)
    write_sheet(runs, folder / "prior_probes.webp")


if __name__ == "__main__":
    main()
