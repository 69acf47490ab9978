"""`python -m tasks.language_model.export RUN`: a snapshot's folder in one zip."""

from __future__ import annotations

import sys

from shared.errors import exit_code_of
from shared.run_folder.records.export_format import ExportFormat
from tasks import zip_export

FORMAT = ExportFormat(name="peft", programs="PEFT, transformers", ending=".zip")


def main() -> int:
    """Zip it and print the path."""
    return zip_export.main(FORMAT, "tasks.language_model.export")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
