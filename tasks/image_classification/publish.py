"""What is told of a classifier when it is published: `run.py publish`, see `tasks.publish`."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfile

from shared.errors import ConfigError
from shared.files.publication import MANIFEST
from shared.publishing.pictures import Shown
from shared.publishing.publication import Part, Publication, Request, Weights
from shared.run_folder import averages
from shared.run_folder.run_dir import RunDir

CONFIG = "config.json"
CODE = """from transformers import pipeline

classify = pipeline("image-classification", model={place})
print(classify("picture.png"))  # your picture"""


def describe(run: RunDir, step: int, request: Request, shown: Shown) -> Publication:
    """A folder of transformers, and code that names the class of a picture.

    Raises:
        ConfigError: it is to be a zip.
    """
    if request.form == "zip":
        cure = "give owner/name or a folder"
        raise ConfigError("--to is a zip for sites of models that draw, and this one classifies", cure)
    config, dataset, snapshot = run.read_config(), run.read_record().dataset, run.snapshot(step)
    described = json.loads((snapshot / CONFIG).read_text(encoding="utf-8"))
    classes = list(described["id2label"].values())
    files = sorted(path.name for path in snapshot.iterdir() if path.name != MANIFEST)
    code = CODE.format(place=json.dumps(request.place))
    return Publication(
        summary=f"A classifier of pictures with {len(classes)} classes ({', '.join(described['architectures'])}).",
        weights=(Weights(tuple(files), "transformers", lambda folder: _write(snapshot, folder)),),
        facts={"classes": ", ".join(f"`{name}`" for name in classes)},
        usage=(Part("transformers", f"```python\n{code}\n```"),),
        training={
            "trained with": "Darkroom",
            "step": averages.label(step),
            "pictures": str(dataset.num_images - len(dataset.kept_away)),
            "learning rate": f"{config.train.learning_rate:g}",
            "optimizer": config.train.optimizer,
        },
        metadata={
            "library_name": "transformers",
            "pipeline_tag": "image-classification",
            "tags": ["image-classification", "darkroom"],
        },
    )


def _write(snapshot: Path, folder: Path) -> None:
    for path in snapshot.iterdir():
        if path.name != MANIFEST:
            copyfile(path, folder / path.name)
