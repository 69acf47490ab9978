"""A fake run whose pictures are made from sources, as those of an edit model are."""

from __future__ import annotations

import json

from PIL import Image, ImageOps

from shared.data.references import source_names
from shared.run_folder.run_dir import RunDir


def give_sources(run: RunDir, count: int = 1) -> None:
    """So many sources of every sample with a reference: the reference in other colours."""
    for path in sorted(run.evaluations.glob("step-*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for sample in result["samples"]:
            sample["num_sources"] = count if sample["has_reference"] else 0
            for name in source_names(sample["prompt_id"], sample["num_sources"]):
                with Image.open(run.references / f"{sample['prompt_id']}.png") as reference:
                    ImageOps.invert(reference.convert("RGB")).save(run.references / name)
        path.write_text(json.dumps(result), encoding="utf-8")
