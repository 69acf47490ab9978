"""`python -m pocket FOLDER`: write the demo's data set, tartan kimonos the pocket model has never seen."""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
from pathlib import Path

from pocket.lessons.garments import write_concept
from shared.files.new_folder import new_folder

parser = argparse.ArgumentParser(prog="python -m pocket", description=__doc__)
parser.add_argument("folder", type=Path)
folder: Path = parser.parse_args().folder
if not folder.exists():
    with new_folder(folder) as staging:
        write_concept(staging)
