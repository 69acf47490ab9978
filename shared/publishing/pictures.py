"""Pictures of a publication: what the snapshot draws, and a sheet of it beside the base model.

They are drawn by the evaluator for its first prompts, in its order: nobody has picked them. Every picture is encoded
again, so that it carries nothing but its pixels. Real pictures are left out unless they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.files.regular import own_file
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import RunDir, step_name, strength_kind

NUM_PROMPTS = 6
SIDE, GAP = 320, 6
SHEET, FOLDER = "samples.webp", "images"


@dataclass(frozen=True)
class Drawn:
    """A prompt as the snapshot, the base model and, where asked for, a camera show it."""

    prompt: str
    sample: Sample
    own: Path
    base: Path | None
    real: Path | None

    def name(self, number: int) -> str:
        """Of the snapshot's picture in a publication; number: from 1."""
        return f"{FOLDER}/{number:02d}.png"


@dataclass(frozen=True)
class Shown:
    """The pictures that go into a publication; none where the task draws none."""

    drawn: tuple[Drawn, ...]
    strength: float
    """At which they are drawn."""
    generation: dict[str, object]
    """How."""

    @property
    def rows(self) -> list[tuple[str, list[Path | None]]]:
        """Of the sheet, from above: what draws it, its picture for each prompt."""
        rows = [
            ("the base model", [one.base for one in self.drawn]),
            ("this model", [one.own for one in self.drawn]),
            ("a real picture", [one.real for one in self.drawn]),
        ]
        return [(title, paths) for title, paths in rows if any(paths)]


def shown(run: RunDir, step: int, strength: float, *, with_references: bool) -> Shown:
    """The first prompts, one seed each, at this strength where it was drawn, else at 1."""
    found = _result(run, step, strength_kind(strength)) if strength != 1 else None
    kind = strength_kind(strength) if found else "evaluations"
    result, base = found or _result(run, step, "evaluations"), _result(run, 0, "evaluations")
    if result is None:
        return Shown((), 1.0, {})
    of_base = {(sample.prompt_id, sample.seed): sample for sample in base.samples} if base else {}
    drawn: dict[str, Drawn] = {}
    for sample in result.samples:
        own = own_file(run.result(kind, step) / "images" / sample.image, run.path) if sample.image else None
        if own is None or sample.prompt in drawn or len(drawn) == NUM_PROMPTS:
            continue
        twin = of_base.get((sample.prompt_id, sample.seed))
        beside = run.path / "evaluations" / step_name(0) / "images" / twin.image if twin and twin.image else None
        real = run.references / f"{sample.prompt_id}.png" if with_references and sample.has_reference else None
        drawn[sample.prompt] = Drawn(
            sample.prompt,
            sample,
            own,
            own_file(beside, run.path) if beside else None,
            own_file(real, run.path) if real else None,
        )
    return Shown(tuple(drawn.values()), strength if found else 1.0, dict(result.generation))


def write(pictures: Shown, folder: Path) -> None:
    """The sheet, and the snapshot's pictures one by one."""
    if not pictures.drawn:
        return
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(pictures.drawn, start=1):
        with Image.open(one.own) as picture:
            _pixels(picture).save(folder / one.name(number))
    sheet(pictures).save(folder / SHEET, quality=90, method=6)


def sheet(pictures: Shown) -> Image.Image:
    """A row for each that draws, a column for each prompt."""
    rows = pictures.rows
    width, height = (len(pictures.drawn) * (SIDE + GAP) - GAP, len(rows) * (SIDE + GAP) - GAP)
    canvas = Image.new("RGB", (width, height), "white")
    for y, (_, paths) in enumerate(rows):
        for x, path in enumerate(paths):
            if path is None:
                continue
            with Image.open(path) as picture:
                tile = _pixels(picture)
            scale = SIDE / max(tile.size)
            resampling = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
            tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), resampling)
            left, top = x * (SIDE + GAP) + (SIDE - tile.width) // 2, y * (SIDE + GAP) + (SIDE - tile.height) // 2
            canvas.paste(tile, (left, top))
    return canvas


def _pixels(picture: Image.Image) -> Image.Image:
    """A picture without what its file says of itself."""
    colours = picture.convert("RGB")
    plain = Image.new("RGB", colours.size)
    plain.paste(colours)
    return plain


def _result(run: RunDir, step: int, kind: str) -> EvaluationResult | None:
    result = run.read_result(step, kind)
    return result if result and result.status == "ok" else None
