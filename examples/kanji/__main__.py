"""`python -m examples.kanji FOLDER`: write glyphs with their meanings, the base model, prompts and reference glyphs."""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import sys
from pathlib import Path

from examples.kanji.data_set import write
from shared.errors import exit_code_of
from shared.files.new_folder import new_folder


def main() -> int:
    """Write the folder beside `data.path`, unless it is there."""
    parser = argparse.ArgumentParser(prog="python -m examples.kanji", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the pictures; what else there is lies beside it")
    pictures: Path = parser.parse_args().folder
    if not pictures.exists():
        folder = pictures.parent
        with new_folder(folder) as staging:
            write(staging, pictures.name)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
