"""Pictures of a snapshot by their URLs: its contact sheets, and what was drawn with a person's own prompts.

Values to HTML, all text escaped; the files are sent as they are, larger ones small until somebody opens them.
"""

from __future__ import annotations

import html

from dashboard.server.files import picture_url
from dashboard.text.formatting import measured, metric_name, size
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.request import Request
from shared.run_folder.run_dir import SHEET, ResultKind, RunDir, step_name

SHEETS: dict[ResultKind, str] = {
    "evaluations": "Contact sheet ({size})",
    "confirmations": "Contact sheet of the final ({size})",
}


def sheets_html(run: RunDir, step: int) -> str:
    """A link to each contact sheet there is of a step."""
    links = ""
    for kind, text in SHEETS.items():
        path = run.result(kind, step) / SHEET
        if path.is_file():
            url = html.escape(picture_url(run.path.name, f"{kind}/{step_name(step)}/{SHEET}"))
            text = html.escape(say(text, size=size(path.stat().st_size)))
            links += f'<a href="{url}" target="_blank">{text}</a> '
    return f'<p class="sheets">{links}</p>' if links else ""


def drawings_html(run_name: str, request: Request, result: EvaluationResult, descriptions: MetricDescriptions) -> str:
    """Each picture over its prompt; a click opens the file itself."""
    folder = f"requested/{request.id}/{step_name(result.step)}/images"
    figures = "".join(_figure(run_name, f"{folder}/{sample.image}", sample, descriptions) for sample in result.samples)
    return f'<div class="drawings">{figures}</div>'


def _figure(run_name: str, path: str, sample: Sample, descriptions: MetricDescriptions) -> str:
    url, small = (html.escape(picture_url(run_name, path, small=small)) for small in (False, True))
    prompt = html.escape(sample.prompt)
    scores = [
        f"{metric_name(column)} {measured(column, sample.metrics.get(column.name))}"
        for column in descriptions.compared_without_references
    ]
    details = html.escape(" · ".join([f"{say('seed')} {sample.seed}", *scores]))
    return (
        f'<figure><a href="{url}" target="_blank"><img loading="lazy" src="{small}" alt="{prompt}"></a>'
        f"<figcaption>{prompt}<span>{details}</span></figcaption></figure>"
    )
