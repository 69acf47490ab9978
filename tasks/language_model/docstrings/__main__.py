"""`python -m tasks.language_model.docstrings FOLDER`: write the demo's examples, and the model that it begins from."""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import json
from pathlib import Path

from shared.files.new_folder import new_folder
from tasks.language_model.docstrings import functions, pretraining

parser = argparse.ArgumentParser(prog="python -m tasks.language_model.docstrings", description=__doc__)
parser.add_argument("folder", type=Path)
folder: Path = parser.parse_args().folder
if not folder.exists():
    with new_folder(folder) as staging:
        lines = [
            {
                "id": f"{one.module}.{one.call.partition('(')[0]}",
                "prompt": f"{one.module}: {one.doc}\n",
                "completion": one.call,
            }
            for one in functions.of_modules()
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        staging.mkdir(parents=True)
        (staging / "calls.jsonl").write_text(text, encoding="utf-8")
        pretraining.write(staging / "model")
