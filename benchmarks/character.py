"""Twelve pictures of one subject and no held-out pair: `python benchmarks/character.py FOLDER`.

One kimono in twelve poses, captioned by a trigger word and what is seen; four prompts of one's own; the profile
`character`. The LoRA is overtrained as in `overtrained.py`. Prints what each snapshot's pictures are found to be and
which one is chosen, and writes a sheet of the last one's pictures. About 45 minutes on two CPU cores. A run folder that
is there is only shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.overtrained import EDGE, OVERTRAINED, ROOT, SEED, tell, write_sheet
from pocket.lessons.garments import CONCEPT_KIND, TARTAN, Garment, render
from shared.run_folder.run_dir import RunDir

NUM_PICTURES, STEPS, SNAPSHOT_STEPS = 12, 1500, 250
SUBJECT = Garment(CONCEPT_KIND, "red", TARTAN)
TRIGGER = CONCEPT_KIND
"""A word that the model has never seen."""
PROMPTS = """a photo of a red tartan [trigger]
red tartan [trigger], product photo
a tartan [trigger] in red, studio background
fashion photo, [trigger]
"""


def train(folder: Path) -> None:
    """Make pictures and prompts, let `init` write a config, train and evaluate."""
    pictures, prompts, config = folder / "pictures", folder / "prompts.txt", folder / "character.toml"
    pictures.mkdir(parents=True)
    for number in range(NUM_PICTURES):
        render(SUBJECT, SEED + number, EDGE)[0].save(pictures / f"{number:02d}.png")
        (pictures / f"{number:02d}.txt").write_text(SUBJECT.caption(number) + "\n", encoding="utf-8")
    prompts.write_text(PROMPTS, encoding="utf-8")
    inspect = ("init", str(pictures), "--model", "pocket", "--output", str(config), "--prompts", str(prompts),
               "--trigger-word", TRIGGER, "--profile", "character")  # fmt: skip
    length = (f"train.max_train_steps={STEPS}", f"train.snapshot_steps={SNAPSHOT_STEPS}")
    settings = (f"run.output_dir={folder}", "run.name=character", *OVERTRAINED, *length)
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
