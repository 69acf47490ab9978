"""What would a run of 10,000 snapshots and 1,000 prompts on 100 evaluators ask of storage, scheduler and dashboard?

    python benchmarks/fleet_simulation.py [--folder FOLDER] [--sizes 100 1000 10000]

Fake evaluators, which publish invented results at once, through the real parts: agenda, claims, tables. Three tables:
what one look, claim and rebuild cost by how many results there are; what a result weighs by how many prompts it has;
and how many results a second 100 evaluators get through, by leases and by one program that gives out the work. Process
time where it says so, for machines are busy with other things.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
import tracemalloc
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.process_time import milliseconds
from dashboard.data.reader import RunReader
from evaluator import work_queue
from evaluator.agenda import Agenda
from evaluator.fleet.dispatch import Dispatch
from evaluator.fleet.member import Done, News
from evaluator.run_mode import RunMode
from examples.fake_run.evaluations import invented_result
from examples.fake_run.run import FakeRun, create
from shared.files.publication import publish
from shared.run_folder.heartbeat import hold_slot
from shared.run_folder.pending import Work
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, step_name, steps_in
from shared.run_folder.sharing.leases import claimed

WORKERS = 100
SIZES = (100, 1000, 10_000)
PROMPTS = (16, 100, 1000)
LEFT = 200
"""Results that the workers of the last table still have to make."""


def made(folder: Path, size: int) -> FakeRun:
    """A run of so many snapshots, all but the last `LEFT` evaluated, of 8 prompts and 2 seeds."""
    fake = create(folder / f"run-{size}", size, 1)
    template = invented_result(fake, 1, "", "")
    for step in range(size + 1):
        if step:
            manifest = Manifest(kind="snapshot", run_id=fake.record.run_id, step=step, details={"epoch": step / 12})
            place = fake.run.snapshot(step)
            place.mkdir()
            manifest.write(place / "manifest.json")
        if step <= size - LEFT or step == 0:
            write_result(fake.run, shifted(template, step, size))
    return fake


def shifted(template: EvaluationResult, step: int, size: int) -> EvaluationResult:
    """The same numbers, a little better with every step."""
    luck = random.Random(step).gauss(0, 0.02)
    samples = tuple(
        sample.model_copy(
            update={
                "metrics": {name: value and value - 0.1 * step / size + luck for name, value in sample.metrics.items()}
            }
        )
        for sample in template.samples
    )
    return template.model_copy(update={"step": step, "samples": samples})


def write_result(run: RunDir, result: EvaluationResult) -> None:
    """A result that counts as published; without fsync, which only the disk would be measured by."""
    place = run.evaluation(result.step)
    place.mkdir(exist_ok=True)
    result.write(place / "result.json")


def claim(run: RunDir) -> None:
    """Take a claim and drop it."""
    with claimed(run, 1):
        pass


def agenda_of(fake: FakeRun, status: object) -> Agenda:
    """Of an evaluator of this run."""
    return Agenda(fake.run, RunMode(follow=False), status, fake.descriptions, fake.run.read_config())  # type: ignore[arg-type]


def costs(fake: FakeRun) -> dict[str, float]:
    """What each part of an evaluator's round costs on this run; ms of process time."""
    with hold_slot(fake.run, "evaluator") as status:
        agenda = agenda_of(fake, status)
        first = milliseconds(agenda.results_table.rebuild, 1)
        found = {"first rebuild": first, "rebuild": milliseconds(agenda.results_table.rebuild, 2)}
        found["look for work"] = milliseconds(lambda: work_queue.free(fake.run, agenda.unfinished()))
        found["claim and release"] = milliseconds(lambda: claim(fake.run), 10)
        found["are the tables current"] = milliseconds(agenda.results_table.is_current)
    reader = RunReader(fake.run, fake.record.run_id)
    found["dashboard: first read"] = milliseconds(lambda: (reader.metrics(), reader.evaluation_versions()), 1)
    found["dashboard: refresh"] = milliseconds(lambda: (reader.metrics(), reader.evaluation_versions()))
    return found


def weights(fake: FakeRun, folder: Path) -> list[tuple[int, float, float, float]]:
    """Prompts (2 seeds each) → KiB of result.json, KiB in an evaluator's memory, ms to read it."""
    template = invented_result(fake, 1, "", "")
    rows: list[tuple[int, float, float, float]] = []
    for number in PROMPTS:
        samples = [template.samples[index % len(template.samples)] for index in range(2 * number)]
        samples = [
            one.model_copy(update={"prompt_id": f"prompt-{index // 2:04d}"}) for index, one in enumerate(samples)
        ]
        path = folder / f"{number}.json"
        template.model_copy(update={"samples": tuple(samples)}).write(path)
        tracemalloc.start()
        kept = EvaluationResult.read(path)
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept.samples) == 2 * number
        seconds = milliseconds(partial(EvaluationResult.read, path))
        rows.append((number, path.stat().st_size / 1024, memory / 1024, seconds))
    return rows


@dataclass
class FakeCrew:
    """Members of a fleet whose evaluations take no time."""

    fake: FakeRun
    size: int
    at_work: list[Work] = field(default_factory=list[Work])

    @property
    def num_free(self) -> int:
        """Those without work."""
        return self.size - len(self.at_work)

    @property
    def works(self) -> set[Work]:
        """What they are at."""
        return set(self.at_work)

    def give(self, work: Work, name: str, message: str, *, patient: bool) -> None:
        """Work for one."""
        self.at_work.append(work)

    def tend(self) -> None:
        """They are always there."""

    def wait(self, seconds: float) -> list[News]:
        """All are done at once."""
        done, self.at_work = self.at_work, []
        for work in done:
            with claimed(self.fake.run, work.step, work.kind):
                evaluate(self.fake, work)
        return [News(work, "here", Done("ok")) for work in done]


def evaluate(fake: FakeRun, work: Work) -> None:
    """Publish an invented result, as an evaluator does."""
    result = invented_result(fake, work.step, "", "")
    manifest = Manifest(kind="evaluation", run_id=fake.record.run_id, step=work.step)
    target = fake.run.result(work.kind, work.step)
    target.parent.mkdir(exist_ok=True)
    publish(fake.run.staging, target, manifest, lambda folder: result.write(folder / "result.json"))


def by_leases(fake: FakeRun) -> float:
    """Results a second of so many evaluators that share the folder: each looks, claims, publishes, keeps the tables."""
    with hold_slot(fake.run, "evaluator") as status:
        agendas = [agenda_of(fake, status) for _ in range(WORKERS)]
    before, begun = len(steps_in(fake.run.evaluations)), time.monotonic()
    table = agendas[0].results_table
    table.rebuild()
    for agenda in agendas[1:]:  # in a process of its own each would read every result once
        agenda.__dict__["results_table"] = table
    begun = time.monotonic()
    threads = [threading.Thread(target=_share, args=(fake, agenda, begun)) for agenda in agendas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (len(steps_in(fake.run.evaluations)) - before) / (time.monotonic() - begun)


LIMIT_SECONDS = 60.0


def _share(fake: FakeRun, agenda: Agenda, begun: float) -> None:
    while time.monotonic() - begun < LIMIT_SECONDS:
        works = [work for work in agenda.ready(agenda.unfinished()) if work.kind == "evaluations"]
        if not works:
            return
        with claimed(fake.run, works[0].step) as mine:
            if mine and works[0].step not in steps_in(fake.run.evaluations):
                evaluate(fake, works[0])
        agenda.keep_tables()


def by_dispatch(fake: FakeRun) -> float:
    """Results a second where one program gives out the work."""
    with hold_slot(fake.run, "evaluator") as status:
        agenda = agenda_of(fake, status)
        agenda.results_table.rebuild()
        before, begun = len(steps_in(fake.run.evaluations)), time.monotonic()
        dispatch = Dispatch(agenda, FakeCrew(fake, WORKERS))
        while time.monotonic() - begun < LIMIT_SECONDS and len(steps_in(fake.run.evaluations)) < before + LEFT:
            dispatch._give(dispatch._unfinished())
            dispatch._hear(0.0)
            agenda.keep_tables()
        return (len(steps_in(fake.run.evaluations)) - before) / (time.monotonic() - begun)


def again(fake: FakeRun, size: int) -> None:
    """Take the last results away."""
    for step in range(size - LEFT + 1, size + 1):
        shutil.rmtree(fake.run.path / "evaluations" / step_name(step), ignore_errors=True)


def main() -> None:
    """Make the runs, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="where to make the runs; a temporary one")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="results that are there")
    arguments = parser.parse_args()
    sizes = arguments.sizes
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        table: dict[int, dict[str, float]] = {}
        rates: dict[int, tuple[float, float]] = {}
        for size in sizes:
            fake = made(folder, size + LEFT)
            table[size] = costs(fake)
            leases = by_leases(fake)
            again(fake, size + LEFT)
            rates[size] = leases, by_dispatch(fake)
        print("| process ms, by results | " + " | ".join(f"{size:,}" for size in sizes) + " |")
        print("| --- |" + " --: |" * len(sizes))
        for part in table[sizes[0]]:
            print(f"| {part} | " + " | ".join(f"{table[size][part]:.1f}" for size in sizes) + " |")
        print(f"\n| results a second, {WORKERS} evaluators | by leases | by one dispatcher |\n| --- | --: | --: |")
        for size, (leases, dispatched) in rates.items():
            print(f"| {size:,} results are there | {leases:.1f} | {dispatched:.1f} |")
        print("\n| prompts of 2 seeds | KiB of result.json | KiB in memory | ms to read |\n| --: | --: | --: | --: |")
        for number, disk, memory, read in weights(create(folder / "weights", 1, 1), folder):
            print(f"| {number:,} | {disk:.0f} | {memory:.0f} | {read:.1f} |")
        print(json.dumps({"folder_files": sum(1 for _ in folder.rglob("*"))}))


if __name__ == "__main__":
    main()
