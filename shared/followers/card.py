"""The model card of the snapshot to ship, for trackers that keep models."""

from __future__ import annotations

from collections.abc import Iterator

from shared.followers import verdict_words
from shared.run_folder.averages import label
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.records.best import Best
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir


def write(run: RunDir, best: Best, manifest: Manifest) -> str:
    """Markdown: what it is, why this one, what was measured with which interval, its files."""
    parts = [f"# {run.path.name}", verdict_words.note(run, best), *_measured(run, best), *_facts(run, best)]
    return "\n\n".join([*parts, _files(manifest)]) + "\n"


def _measured(run: RunDir, best: Best) -> Iterator[str]:
    descriptions = run.read_metric_descriptions()
    rows = [row for column in descriptions.compared if (row := _row(best, column))]
    if best.composite:
        interval = best.composite
        rows.append(f"| composite | | {interval.delta:+.3f} | {interval.low:+.3f} to {interval.high:+.3f} |")
    if rows:
        yield "## Measured"
        base = descriptions.words.base
        yield f"Differences to {base}, with 95 % intervals; {best.num_evaluated} snapshots evaluated."
        yield "\n".join(["| metric | this snapshot | difference | interval |", "| --- | --: | --: | --- |", *rows])


def _row(best: Best, column: Column) -> str:
    value, interval = best.metrics.get(column.name), best.deltas.get(column.name)
    if value is None:
        return ""
    cells = ["", ""]
    if interval:
        cells = [
            column.spelled(interval.delta, is_change=True),
            column.spelled_interval(interval.low, interval.high),
        ]
    return f"| {column.title} | {column.spelled(value)} | {cells[0]} | {cells[1]} |"


def _facts(run: RunDir, best: Best) -> Iterator[str]:
    record, config = run.read_record(), run.read_config()
    facts = {
        "Run": f"{record.name} ({record.run_id}), {record.created}",
        record.unit.capitalize(): label(best.step),
        "Learnt": config.run.task,
        "Base model": record.base_model.get("path", ""),
        "Trained on": f"{record.dataset.num_images} examples",
        "Fingerprint of the data": record.dataset.fingerprint,
        "Held out": str(len(record.dataset.held_out)),
        "Strength": f"{best.strength.recommended:g}" if best.strength else "",
    }
    yield "## Where it comes from"
    yield "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)


def _files(manifest: Manifest) -> str:
    lines = [f"- `{entry.name}`: {entry.size} bytes, sha256 {entry.sha256}" for entry in manifest.files]
    return "\n".join(["## Files", "", *lines])
