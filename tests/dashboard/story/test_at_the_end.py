from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

from dashboard.data.reader import RunReader
from dashboard.story.progress.at_the_end import AtTheEnd, at_the_end
from examples.fake_run.run import FakeRun
from shared.config.dumping import dump_config
from shared.run_folder.averages import averaged
from shared.run_folder.pending import Work
from shared.run_folder.run_dir import RunDir, strength_kind

AVERAGE = averaged(80, 120) or 0


@pytest.fixture
def reader(states: dict[str, FakeRun], tmp_path: Path) -> RunReader:
    """Of a run that wants an average, three finalists and two strengths at the end."""
    run = RunDir(Path(copytree(states["finished"].run.path, tmp_path / "run")))
    config = states["finished"].config
    wanted = config.evaluation.model_copy(update={"averages": 1, "strengths": (0.6, 1.2)})
    run.config.write_text(dump_config(config.model_copy(update={"evaluation": wanted})))
    return RunReader(run, run.read_record().run_id)


@pytest.mark.parametrize(
    ("works", "planned", "expected"),
    [
        ([Work(120)], (), AtTheEnd(1, 4, 2)),
        ([], (240,), AtTheEnd(1, 4, 2)),
        ([Work(AVERAGE)], (), AtTheEnd(0, 4, 2)),
        ([Work(0, "confirmations"), Work(120, "confirmations")], (), AtTheEnd(0, 0, 2)),
        ([Work(120, strength_kind(1.2))], (), AtTheEnd()),
        ([], (), AtTheEnd()),
    ],
)
def test_what_comes_at_the_end_is_counted_before_it_is_due(
    reader: RunReader, works: list[Work], planned: tuple[int, ...], expected: AtTheEnd
) -> None:
    assert at_the_end(reader, reader.best(), works, planned) == expected


def test_a_run_of_an_older_version_has_no_averages_and_no_strengths_at_the_end(reader: RunReader) -> None:
    text = reader.run.config.read_text()
    older = [line for line in text.splitlines() if not line.startswith(("averages", "strengths"))]
    reader.run.config.write_text("\n".join(older))
    assert at_the_end(RunReader(reader.run, reader.run_id), reader.best(), [Work(120)], ()) == AtTheEnd(finals=4)


def test_evaluators_share_each_kind_and_the_base_model_is_confirmed_first() -> None:
    left = AtTheEnd(averages=1, finals=4, strengths=4)
    assert left.seconds(10.0, 30.0, num_evaluators=1) == 10 + 4 * 30 + 4 * 10
    assert left.seconds(10.0, 30.0, num_evaluators=2) == 10 + (1 + 2) * 30 + 2 * 10
    assert AtTheEnd().seconds(10.0, 30.0, num_evaluators=2) == 0
