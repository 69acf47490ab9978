"""Does an overtrained run of `init`'s own size show its copies? `python benchmarks/overtrained.py FOLDER [PICTURES]`.

12 kimonos (or 24, or 40), each captioned by its colour, some of which `init` holds out; the LoRA has four times
`init`'s rank and learns all linear layers and convolutions until it knows its pictures by heart. Prints what each
snapshot's pictures are found to be and which snapshot is chosen, and writes a sheet: the pictures of the last snapshot,
beneath each the training picture it copies. 12 pictures take about 5 minutes on two quiet CPU cores, 24 about 25.
A run folder that is there is only shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from pocket.lessons.garments import concept, render
from shared.data.pictures import open_picture
from shared.run_folder.averages import is_average, label
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

ROOT = Path(__file__).resolve().parents[1]
STEPS = {12: 1000, 24: 5000, 40: 8000}
"""Training steps for a number of pictures: each that is not held out is seen 450 to 1200 times."""
SEED = 202
EDGE = 128
OVERTRAINED = (
    "lora.rank=64",
    "lora.lora_alpha=64",
    'lora.target_modules=["to_q","to_k","to_v","to_out.0","proj_in","proj_out","ff.net.0.proj","ff.net.2","conv1","conv2"]',
    "train.lr_scheduler=cosine",
    "train.lr_warmup_steps=20",
    "evaluation.num_seeds=2",
    "evaluation.confirm_seeds=1",
    "evaluation.guidance_scale=3.0",
)


def train(folder: Path, num_pictures: int) -> None:
    """Make the pictures, let `init` write a config, train and evaluate."""
    pictures = folder / "kimonos"
    pictures.mkdir(parents=True)
    for number, garment in enumerate(concept(num_pictures, SEED)):
        render(garment, SEED + number)[0].save(pictures / f"kimono-{number:03d}.png")
        caption = f"a photo of a {garment.colour} tartan kimono\n"
        (pictures / f"kimono-{number:03d}.txt").write_text(caption, encoding="utf-8")
    config = folder / "kimonos.toml"
    steps = STEPS[num_pictures]
    length = [
        f"train.{key}={value}"
        for key, value in {
            "max_train_steps": steps,
            "snapshot_steps": steps // 5,
            "validation_steps": steps // 10,
        }.items()
    ]
    for command in (
        ("init", str(pictures), "--model", "pocket", "--output", str(config)),
        (
            "train",
            str(config),
            "--no-dashboard",
            f"run.output_dir={folder}",
            "run.name=overtrained",
            *OVERTRAINED,
            *length,
        ),
    ):
        subprocess.run([sys.executable, str(ROOT / "run.py"), *command], check=True)


def tell(run: RunDir) -> None:
    """A row for each snapshot, then the choice."""
    print("| step | composite | pictures copied | likeness to the nearest, median | signs |\n|" + " --- |" * 5)
    best = run.read_best()
    by_heart = [row["train_probe_loss"] for row in read_rows(run.validation_csv)]
    for step in sorted(steps_in(run.evaluations) - {0}):
        result = run.read_result(step)
        row = next((row for row in read_rows(run.metrics_csv) if int(row["step"]) == step), {})
        assert result
        shares = [sample.metrics["copy_share"] or 0 for sample in result.samples]
        nearest = sorted(sample.metrics["copy_max"] or 0 for sample in result.samples)
        cells = (f"{sum(shares):.0f} of {len(shares)}", f"{nearest[len(nearest) // 2]:.2f}", row.get("signals", ""))
        print(f"| {label(step)} | {row.get('composite', '')} | " + " | ".join(cells) + " |")
    if by_heart:
        share = float(by_heart[-1]) / float(by_heart[0])
        print(f"\nAt the end the loss on training pictures is {share:.2f} of the base model's.")
    if best:
        print(f"\nChosen: {label(best.step)}. {best.reason}")


def write_sheet(run: RunDir, path: Path) -> None:
    """The pictures of the last snapshot; beneath each what it copies, or nothing."""
    step = max(step for step in steps_in(run.evaluations) if not is_average(step))
    result = run.read_result(step)
    assert result
    sheet = Image.new("RGB", (len(result.samples) * EDGE, 2 * EDGE), "white")
    for column, sample in enumerate(result.samples):
        shown = [run.evaluation(step) / "images" / sample.image]
        shown += [run.evaluation(step) / "lookalikes" / alike.image for alike in sample.lookalikes.values()]
        for row, picture in enumerate(shown):
            sheet.paste(open_picture(picture).resize((EDGE, EDGE)), (column * EDGE, row * EDGE))
    sheet.save(path, quality=85)


def main() -> None:
    """Train unless that is done; print the table, write the sheet."""
    folder = Path(sys.argv[1])
    if not (folder / "overtrained").exists():
        train(folder, int(sys.argv[2]) if len(sys.argv) > 2 else min(STEPS))
    run = RunDir(folder / "overtrained")
    tell(run)
    write_sheet(run, folder / "overtrained.webp")


if __name__ == "__main__":
    main()
