"""Twelve pictures of one subject and no held-out pair: `python benchmarks/character.py FOLDER`.

One kimono in twelve poses, each before another photograph and captioned by a trigger word and what is behind it; four
prompts of one's own, which ask for four of these places; the profile `character`. The LoRA is overtrained as in
`overtrained.py`, so that its last snapshot draws training pictures. Prints what each snapshot's pictures are found to
be and which one is chosen, and writes a sheet of the last one's pictures. About half an hour on two CPU cores. A run
folder that is there is only shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from benchmarks.overtrained import EDGE, OVERTRAINED, ROOT, SEED, tell, write_sheet
from pocket.garments import CONCEPT_KIND, TARTAN, Garment, render
from shared.run_folder.run_dir import RunDir
from tests.integration.test_proofs import photographs

NUM_PICTURES, STEPS, NUM_SNAPSHOTS, NUM_PROMPTS = 12, 800, 4, 4
SUBJECT = Garment(CONCEPT_KIND, "red", TARTAN)
TRIGGER = CONCEPT_KIND
"""A word that the model has never seen."""


def train(folder: Path) -> None:
    """Make pictures and prompts, let `init` write a config, train and evaluate."""
    pictures, prompts, config = folder / "pictures", folder / "prompts.txt", folder / "character.toml"
    pictures.mkdir(parents=True)
    places = dict(list(photographs(EDGE).items())[:NUM_PICTURES])
    for number, (place, behind) in enumerate(places.items()):
        subject, mask = render(SUBJECT, SEED + number, EDGE)
        shown = Image.composite(subject, behind, Image.fromarray(mask.astype(np.uint8) * 255))
        shown.save(pictures / f"{place}.png")
        (pictures / f"{place}.txt").write_text(f"{TRIGGER}, {place}\n", encoding="utf-8")
    asked = list(places)[:: NUM_PICTURES // NUM_PROMPTS]
    prompts.write_text("".join(f"[trigger], {place}\n" for place in asked), encoding="utf-8")
    inspect = ("init", str(pictures), "--model", "pocket", "--output", str(config), "--prompts", str(prompts),
               "--trigger-word", TRIGGER, "--profile", "character")  # fmt: skip
    length = (f"train.max_train_steps={STEPS}", f"train.snapshot_steps={STEPS // NUM_SNAPSHOTS}")
    settings = (f"run.output_dir={folder}", "run.name=character", "evaluation.confirm_prompts=0", *OVERTRAINED, *length)
    for command in (inspect, ("train", str(config), "--no-dashboard", *settings)):
        subprocess.run([sys.executable, str(ROOT / "run.py"), *command], check=True)


def main() -> None:
    """Train unless that is done; print the table, write the sheet."""
    folder = Path(sys.argv[1])
    if not (folder / "character").exists():
        train(folder)
    run = RunDir(folder / "character")
    tell(run)
    write_sheet(run, folder / "character.webp")


if __name__ == "__main__":
    main()
