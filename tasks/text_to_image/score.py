"""`python -m tasks.text_to_image.score REFERENCES SAMPLES`: metrics of two folders of pictures, paired by file stem.

A picture's id is its path in the folder without the ending; `<id>.txt` beside it, in either folder, is its prompt. The
unit of the intervals is the pair. Numbers go to standard output, as a table or as JSON; everything else goes to
standard error.

Exit codes: 0; 3 where no loss could be computed, so that nothing was compared, or the device is missing; 2 wrong folder
or option.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from PIL import Image
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from shared.config.schema import EvaluationConfig
from shared.data.pictures import SUFFIXES, open_picture
from shared.data.sources import ScanReport, find_pictures, listed
from shared.errors import DarkroomError, DataError, exit_code_of
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics import signs
from shared.statistics.paired import Estimate, estimate
from shared.statistics.skill import has_scale, skill
from tasks.devices import choose_device
from tasks.text_to_image.evaluation.anchors import anchors, matching, mismatched
from tasks.text_to_image.evaluation.scorer import Scorer, Scores, load_scorer
from tasks.text_to_image.metrics import pairwise_metrics
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

MAX_NAMED = 10
NOT_COMPARED = 3
"""Exit code: no loss could be computed."""
NO_LOSS = "No loss could be computed: the samples were not compared with the references"


@dataclass(frozen=True)
class Pairs:
    """Two folders, matched."""

    ids: tuple[str, ...]
    metric_input: MetricInput
    unmatched: dict[str, list[str]]
    """`references` and `samples` → ids that the other folder lacks."""


def main() -> int:
    """Read the two folders, score them, print."""
    defaults = EvaluationConfig()
    parser = argparse.ArgumentParser(prog="python run.py score", description=__doc__)
    parser.add_argument("references", type=Path, help="folder of real pictures")
    parser.add_argument("samples", type=Path, help="folder of pictures to be evaluated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--visual", default=defaults.visual, help="as evaluation.visual")
    parser.add_argument("--fashion-clip", default=defaults.fashion_clip, help="as evaluation.fashion_clip")
    parser.add_argument("--segmenter", default=defaults.segmenter, help="as evaluation.segmenter")
    parser.add_argument("--segmenter-labels", nargs="+", default=(), help="as evaluation.segmenter_labels")
    parser.add_argument("--device", default="cpu", help="where the encoders run: auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--legacy", action="store_true", help="also the formulas this project began with")
    arguments = parser.parse_args()
    disable_progress_bar()
    device = choose_device(arguments.device)
    pairs = read_pairs(arguments.references, arguments.samples)
    metrics = (*pairwise_metrics(), *(("legacy",) if arguments.legacy else ()))
    scorer = load_scorer(
        arguments.fashion_clip,
        arguments.visual,
        str(device),
        metrics,
        arguments.segmenter,
        arguments.segmenter_labels,
    )
    report = score(pairs, scorer)
    losses = [column.name for metric in scorer.metrics for column in metric.columns if column.role == "loss"]
    compared = any(loss in report["summary"] for loss in losses)
    if not compared:
        (sys.stderr if arguments.json else sys.stdout).write(f"{NO_LOSS}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(report, compared=compared)
    return 0 if compared else NOT_COMPARED


def read_pairs(references: Path, samples: Path) -> Pairs:
    """Match the two folders by id.

    Raises:
        DataError: a folder is missing or empty, nothing matches, or pictures cannot be read; the message lists all.
    """
    real, drawn = _pictures(references), _pictures(samples)
    ids = tuple(sorted(real.keys() & drawn.keys()))
    unmatched = {"references": sorted(real.keys() - drawn.keys()), "samples": sorted(drawn.keys() - real.keys())}
    if not ids:
        raise DataError(
            f"no picture of {samples} has the name of one in {references}: "
            f"the references are {_some(real)}; the samples are {_some(drawn)}",
            "name each sample like its reference; the file type may differ",
        )
    opened = _open_all([*(real[name] for name in ids), *(drawn[name] for name in ids)])
    prompts = [_prompt(name, samples, references) for name in ids]
    return Pairs(ids, MetricInput(opened[: len(ids)], opened[len(ids) :], prompts), unmatched)


def score(pairs: Pairs, scorer: Scorer) -> dict[str, Any]:
    """All results as nested dictionaries: see docs/metrics.md."""
    _refuse_black(pairs)
    scores = scorer.score(pairs.metric_input)
    columns = [column for metric in scorer.metrics for column in metric.columns]
    samples = [
        Sample(prompt_id=name, prompt="", seed=0, image=name, batch=0, metrics=row)
        for name, row in zip(pairs.ids, scores.rows, strict=True)
    ]
    ratios = {name: _fields(found) for name, found in signs.ratios(samples, (), columns).items() if found}
    return {
        "pairs": dict(zip(pairs.ids, scores.rows, strict=True)),
        "summary": {**_summary(scores), **ratios},
        "signs": [
            {"name": sign.name, "raised": sign.raised, "evidence": sign.evidence}
            for sign in signs.signs(samples, (), columns)
        ],
        "anchors": _anchored(pairs.metric_input, scores, scorer),
        "encoders": {column: record.model_dump() for column, record in scorer.encoders.items()},
        "missing": {**scores.missing, **_too_few(len(pairs.ids))},
        "unmatched": pairs.unmatched,
    }


def show(report: Mapping[str, Any], *, compared: bool = True) -> None:
    """Print a table. compared: at least one loss was computed; else it is not said that nothing is wrong."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("metric", "mean", "95 % interval", "skill", "matching")
    for column, measured in report["summary"].items():
        ends = report["anchors"].get(column, {})
        table.add_row(
            column,
            f"{measured['mean']:z.4f}",
            "" if measured["low"] is None else f"{measured['low']:z.4f} … {measured['high']:z.4f}",
            "" if ends.get("skill") is None else f"{ends['skill']:z.2f}",
            "" if ends.get("matching") is None else f"{ends['matching']:.3f}",
        )
    console.print(f"pairs: {len(report['pairs'])}")
    console.print(table)
    console.print(
        "skill: 0 is as similar to the reference as a real picture of another pair, 1 as the most similar other real "
        "picture; above 1 is more similar than that, and a copy of the reference is well above 1"
    )
    console.print("matching: how often a sample is closer to its own reference than another sample is; 0.5 is chance")
    for sign in report["signs"]:
        if sign["raised"]:
            console.print(f"This is a sign of overfitting, {sign['name']}: {sign['evidence']}", markup=False)
    tested = [sign["name"] for sign in report["signs"] if sign["raised"] is not None]
    if compared and tested and not any(sign["raised"] for sign in report["signs"]):
        console.print(f"No sign of overfitting among {', '.join(tested)}")
    for folder, names in report["unmatched"].items():
        if names:
            console.print(f"{folder} that match nothing: {_some(names)}", markup=False)
    by_reason: dict[str, list[str]] = {}
    for column, reason in report["missing"].items():
        by_reason.setdefault(reason, []).append(column)
    for reason, columns in by_reason.items():
        console.print(f"{', '.join(columns)} {'have' if columns[1:] else 'has'} no value: {reason}", markup=False)


def _summary(scores: Scores) -> dict[str, dict[str, float | int | None]]:
    """Column → mean over pairs with its t-interval; a column without numbers is absent."""
    columns = dict.fromkeys(column for row in scores.rows for column in row)
    estimates = {column: estimate(_values(scores.rows, column)) for column in columns}
    return {column: _fields(interval) for column, interval in estimates.items() if interval is not None}


def _anchored(metric_input: MetricInput, scores: Scores, scorer: Scorer) -> dict[str, dict[str, float | None]]:
    """Loss → floor and ceiling of its scale, the samples' skill, and how well they match their own reference."""
    shuffled = mismatched(metric_input.references, metric_input.samples, scorer)
    worsening = {column.name: column.worsening for metric in scorer.metrics for column in metric.columns}
    by_loss: dict[str, dict[str, float | None]] = {}
    for loss, ends in anchors(metric_input.references, scorer).items():
        losses = _values(scores.rows, loss)
        measured = estimate(losses)
        if measured is not None:
            place = skill(measured, ends) if has_scale(ends, worsening[loss]) else None
            by_loss[loss] = {
                "shuffled": ends.shuffled,
                "real": ends.real,
                "skill": place.mean if place else None,
                "skill_low": place.low if place else None,
                "skill_high": place.high if place else None,
                "matching": matching([worsening[loss] * value for value in losses], worsening[loss] * shuffled[loss]),
            }
    return by_loss


def _too_few(num_pairs: int) -> dict[str, str]:
    """Value that cannot be computed from so few pairs → why."""
    reasons: dict[str, str] = {}
    if num_pairs < 3:
        reasons["skill"] = "it needs three references: with fewer, floor and ceiling are the same"
    if num_pairs < 2:
        reasons |= dict.fromkeys(("interval", "matching"), "it needs two pairs")
    return reasons


def _values(rows: Iterable[Row], column: str) -> list[float]:
    return [value for row in rows if (value := row[column]) is not None]


def _fields(interval: Estimate) -> dict[str, float | int | None]:
    fields = asdict(interval)
    return {"num_pairs": fields.pop("num_prompts"), **fields}


def _pictures(folder: Path) -> dict[str, Path]:
    """Id → picture, in a folder and its subfolders."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "give two folders of pictures")
    by_id: dict[str, Path] = {}
    report = ScanReport()
    for path in find_pictures(folder, report):
        name = normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())  # macOS writes é as two characters
        if name in by_id:
            raise DataError(f"{path} and {by_id[name].name} have the same name", "remove or rename one of the two")
        by_id[name] = path
    _refuse(report.problems)
    if not by_id:
        raise DataError(f"{folder} holds no pictures", f"add pictures ({', '.join(sorted(SUFFIXES))}), at any depth")
    return by_id


def _open_all(paths: Iterable[Path]) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    problems: list[str] = []
    for path in paths:
        try:
            pictures.append(open_picture(path))
        except DarkroomError as error:
            problems.append(str(error))
    _refuse(problems)
    return pictures


def _refuse(problems: list[str]) -> None:
    if problems:
        raise DataError("\n       ".join(listed(problems)), "repair or remove these files")


def _prompt(name: str, *folders: Path) -> str:
    """The text of `<id>.txt` in the first folder that has one; empty if none has."""
    for folder in folders:
        path = folder / f"{name}.txt"
        try:
            return " ".join(path.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: {error}", "write it in UTF-8") from None
    return ""


def _refuse_black(pairs: Pairs) -> None:
    samples = zip(pairs.ids, pairs.metric_input.samples, strict=True)
    black = [name for name, sample in samples if not sample.getbbox()]
    if black:
        raise DataError(f"{len(black)} samples are all black: {_some(black)}", "generate them again, in bf16 or fp32")


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = len(ordered) - MAX_NAMED
    return ", ".join(ordered[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
