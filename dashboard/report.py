"""`python -m dashboard.report RUN`: a run as one HTML file, to send to somebody or to keep.

The same charts and the same wall as in the dashboard, with everything they need inside: no server, no network. Pictures
larger than 384 pixels are made smaller, and of many snapshots a few are taken; the file says so.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import base64
import html
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from PIL import Image

from dashboard.charts.axis import Look, x_axis
from dashboard.charts.quality import quality_figure
from dashboard.charts.training import Events, training_figure
from dashboard.components import figure as figures
from dashboard.components import wall as walls
from dashboard.components.exhibits import exhibits_html
from dashboard.components.static_screen import STYLE, path_of, screen_html
from dashboard.data.best_snapshot import best_table_html, signals_html
from dashboard.data.comparison import flatten, spell
from dashboard.data.events import pauses
from dashboard.data.reader import RunReader
from dashboard.server.files import PLOTLY_FILE
from dashboard.server.scripts import FILES, import_map
from dashboard.server.thumbnails import is_huge
from dashboard.story.drawn import default_sides, drawn_step, drawn_steps
from dashboard.story.screen import Screen, screen
from dashboard.story.wording import trained_elsewhere
from dashboard.text import language
from dashboard.text.language import say
from dashboard.text.phrases import told
from dashboard.theme import css_variables
from shared.data.references import source_names
from shared.errors import exit_code_of, writing
from shared.files.regular import own_file
from shared.files.replacing import replace_file
from shared.run_folder.averages import label
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir, open_run, step_name

HERE = Path(__file__).parent
STYLES = ("style.css", "figure.css", "cell.css", "lens.css", "wall.css")
MAX_STEPS, MAX_SIDE, THUMBNAIL_SIDE, QUALITY = 8, 384, 96, 88
SPANS_PER_RUN = 30


def main() -> int:
    """Read the command line, write the file."""
    parser = argparse.ArgumentParser(prog="dashboard.report", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder, such as runs/demo")
    parser.add_argument("--output", type=Path, help="the file to write; <run>/report.html when absent")
    parser.add_argument("--lang", default="en", choices=language.LANGUAGES, help="language of the report")
    options = parser.parse_args()

    def body() -> int:
        run = open_run(options.run)
        language.use(options.lang)
        target = options.output or run.path / "report.html"
        reader = RunReader(run, run.read_record().run_id)
        language.count_in(reader.unit)
        text = render(reader)
        with writing("--output", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, text.encode())
        sys.stdout.write(f"{target}\n")
        return 0

    return exit_code_of(body)


def render(reader: RunReader) -> str:
    """The whole file."""
    best, steps = reader.best(), chosen_steps(reader)
    shown = screen(reader, datetime.now(UTC), UTC)
    picture = partial(inline, reader.run)
    data = {**figure_data(reader), "wall": wall_data(reader, steps)}
    parts = {
        "lang": language.current(),
        "title": html.escape(say("{run}: report", run=reader.name)),
        "subtitle": html.escape(subtitle(reader)),
        "state": html.escape(" · ".join(shown.status.parts)),
        "description": html.escape(shown.verdict.sentence.replace("`", "") or shown.verdict.headline),
        "og_title": html.escape(f"{reader.name}: {shown.verdict.headline}"),
        "og_image": picture(first_picture(shown)),
        "first_screen": screen_html(shown, picture, partial(inline, reader.run, max_side=THUMBNAIL_SIDE)),
        "light": css_variables("light"),
        "dark": css_variables("dark"),
        "style": "".join(FILES[name].decode() for name in STYLES) + STYLE.read_text(encoding="utf-8"),
        "alerts": failures(reader) + deletions(reader),
        "numbers": numbers(reader, best) if best else "",
        "curves_title": html.escape(say("Curves")),
        "samples_title": html.escape(say("Samples")),
        "samples_note": html.escape(
            ("" if exhibits(reader) else say("The results of this run have no pictures."))
            if reader.has_no_pictures()
            else samples_note(steps, reader.drawn_steps())
        ),
        "wall": '<div class="darkroom-wall"></div>' if data["wall"] else exhibits(reader),
        "settings_title": html.escape(say("Settings")),
        "settings_note": html.escape(trained_elsewhere(reader.run.read_record())),
        "settings": settings(reader),
        "plotly": PLOTLY_FILE.read_text(encoding="utf-8").replace("</script", "<\\/script"),
        "figure_frame": figures.FRAME,
        "figure_script": base64.b64encode(figures.SCRIPT.read_bytes()).decode(),
        "modules": import_map(),
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    }
    return Template((HERE / "report.html").read_text(encoding="utf-8")).substitute(parts)


def numbers(reader: RunReader, best: Best) -> str:
    """The evaluator's reason, the metrics of the best snapshot, the signs of overfitting."""
    table = best_table_html(best, reader.base_metrics(), reader.descriptions) + signals_html(best)
    title, reason = html.escape(say("The numbers")), html.escape(told(best.reason_phrases, best.reason))
    return f'<h2>{title}</h2><p>{reason}</p><div class="scroll" tabindex="0">{table}</div>'


def subtitle(reader: RunReader) -> str:
    """Which run, on what, when."""
    record, now = reader.run.read_record(), datetime.now(UTC)
    return say(
        "Base model {model}, data {data} ({count} pictures), started {begun}; written {now} UTC by Darkroom.",
        model=record.base_model.get("path", "–"),
        data=record.dataset.path,
        count=record.dataset.num_images,
        begun=record.created[:16].replace("T", " "),
        now=f"{now:%Y-%m-%d %H:%M}",
    )


def exhibits(reader: RunReader) -> str:
    """What the task shows of the best step, else of the newest one, beside the base model; empty: nothing."""
    best, steps = reader.best(), [*reader.drawn_steps(), *reader.averages()]
    step = best.step if best and best.step in steps else max(reader.drawn_steps(), default=None)
    shown = exhibits_html(reader, step, picture=partial(inline, reader.run)) if step is not None else ""
    return f"<h3>{html.escape(say('Step {step}', step=label(step)))}</h3>{shown}" if shown and step is not None else ""


def failures(reader: RunReader) -> str:
    """Evaluations that could not be made, with the reason."""
    sentences = [
        say("Step {step} could not be evaluated: {reason}", step=step, reason=reason)
        for step, reason in reader.failures().items()
    ]
    return f'<ul class="alerts">{"".join(f"<li>{html.escape(text)}</li>" for text in sentences)}</ul>'


def deletions(reader: RunReader) -> str:
    """Snapshots whose weights are gone; what they were worth is here all the same."""
    steps = sorted(reader.deleted_steps())
    if not steps:
        return ""
    names = ", ".join(map(str, steps))
    told = say("Weights deleted (train.snapshots_total_limit): step {steps}. Results and pictures stay.", steps=names)
    return f"<p>{html.escape(told)}</p>"


def figure_data(reader: RunReader) -> dict[str, Any]:
    """Both figures over steps, as figure.js takes them."""
    train, metrics, best = reader.train(), reader.metrics(), reader.best()
    stops = {step: say("stopped by {who}", who=who) for step, who in reader.stops().items()}
    resumed = pauses(train, stops)
    axis = x_axis(train, "step", False, 1.0, resumed)
    look = Look(span=max(10.0, reader.config.train.max_train_steps / SPANS_PER_RUN), anchors=True)
    failed, best_step = reader.failures(), best.step if best and best.is_chosen else None
    evaluated = [step for step in reader.drawn_steps() if step not in failed]
    events = Events(reader.snapshot_steps(), evaluated, failed, stops, resumed, best=best_step)
    last_step = max(reader.last_step(), *reader.evaluated_steps(), 1)
    anchors = reader.anchors()
    drawn = {
        "training": training_figure(
            train, reader.validation(), events, axis, look, last_step, of_pictures=reader.of_pictures
        )
        if len(train)
        else None,
        "quality": quality_figure(
            metrics, reader.descriptions, best_step, reader.missing(), axis, look, last_step, anchors
        )
        if len(metrics)
        else None,
    }
    return {
        name: {
            "figure": figure,
            "group": "report",
            "label": f"{reader.name} {name}",
            "fileName": f"{reader.name}-{name}",
        }
        for name, figure in drawn.items()
        if figure
    }


def chosen_steps(reader: RunReader) -> list[int]:
    """Step 0, the best, the newest, and others evenly between them, `MAX_STEPS` at most."""
    steps, best = reader.drawn_steps(), reader.best()
    if len(steps) <= MAX_STEPS:
        return steps
    even = [steps[round(place * (len(steps) - 1) / (MAX_STEPS - 2))] for place in range(MAX_STEPS - 1)]
    return sorted({*even, *([best.step] if best and best.step in steps else [])})


def samples_note(shown: Sequence[int], evaluated: Sequence[int]) -> str:
    """What was left out."""
    if len(shown) == len(evaluated):
        return say("All {count} evaluated steps.", count=len(evaluated))
    return say("{shown} of {count} evaluated steps.", shown=len(shown), count=len(evaluated))


def wall_data(reader: RunReader, steps: Sequence[int]) -> dict[str, Any] | None:
    """The wall with its results and pictures inside."""
    results = {step: result for step in steps if (result := reader.result(step))}
    if not results or reader.has_no_pictures():
        return None
    drawn = drawn_steps(reader, results)
    data = walls.wall_data(
        reader.name,
        reader.run_id,
        descriptions=reader.descriptions,
        drawn=drawn,
        defaults=default_sides(reader, drawn),
    )
    inlined = {step: asdict(drawn_step(reader, step)) for step in results}
    return data | {"inlined": {"drawn": inlined, "pictures": pictures(reader, results)}}


def pictures(reader: RunReader, results: dict[int, EvaluationResult]) -> dict[str, str]:
    """Path as wall.js asks for it → the picture itself."""
    data_urls: dict[str, str] = {}
    for step, result in results.items():
        for sample in result.samples:
            paths = [f"evaluations/{step_name(step)}/images/{sample.image}"]
            paths += [f"references/{sample.prompt_id}.png"] if sample.has_reference else []
            paths += [f"references/{name}" for name in source_names(sample.prompt_id, sample.num_sources)]
            paths += [
                f"evaluations/{step_name(step)}/lookalikes/{alike.image}"
                for alike in sample.lookalikes.values()
                if alike.image
            ]
            for path in paths:
                url = quote(path, safe="/!*()'")  # as encodeURIComponent spells it
                if url not in data_urls:
                    data_urls[url] = inline(reader.run, path)
    return data_urls


def first_picture(shown: Screen) -> str:
    """What a chat may show beside a link: the typical prompt as the right side draws it; empty without pictures."""
    urls = [pick.cells[-1].url for pick in shown.pictures.picks[:1]]
    return path_of(urls[0]) if urls else ""


def inline(run: RunDir, path: str, max_side: int = MAX_SIDE) -> str:
    """A picture of the run as a data URL: WebP, lossless where it is small; empty when it cannot be read."""
    file = own_file(run.path / path, run.path) if path else None
    if file is None or is_huge(file):
        return ""
    try:
        with Image.open(file) as picture:
            is_small = max(picture.size) <= max_side
            shown = picture.convert("RGB")
            shown.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            shown.save(buffer, "WEBP", lossless=is_small, quality=QUALITY)
    except (OSError, ValueError, SyntaxError):
        return ""
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def settings(reader: RunReader) -> str:
    """Rows of a table: every setting that is known."""
    values = flatten(reader.known_settings)
    return "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(spell(value))}</td></tr>" for name, value in values.items()
    )


if __name__ == "__main__":
    raise SystemExit(main())
