"""`python -m pocket FOLDER`: write the demo's data set, tartan kimonos the pocket model has never seen."""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import shutil
from pathlib import Path

from pocket.garments import write_concept

parser = argparse.ArgumentParser(prog="python -m pocket", description=__doc__)
parser.add_argument("folder", type=Path)
folder: Path = parser.parse_args().folder
if not folder.exists():
    staging = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    write_concept(staging)
    staging.rename(folder)
