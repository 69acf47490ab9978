"""`python -m tasks.image_classification.digits FOLDER`: write the demo's data set, a folder for each digit."""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
from pathlib import Path

from shared.files.new_folder import new_folder
from tasks.image_classification.digits.pictures import write

parser = argparse.ArgumentParser(prog="python -m tasks.image_classification.digits", description=__doc__)
parser.add_argument("folder", type=Path)
folder: Path = parser.parse_args().folder
if not folder.exists():
    with new_folder(folder) as staging:
        write(staging)
