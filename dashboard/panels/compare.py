"""Runs beside one another: which is better in a sentence, curves, numbers against a pinned baseline, settings that
differ, the same prompts drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.charts.overlay import COLORS
from dashboard.components.figure import show_chart
from dashboard.components.sheet import sheet_data, show_sheet, words
from dashboard.components.wall import show_wall, wall_data
from dashboard.components.watch import watch
from dashboard.data.comparison import Contestant, evaluated_otherwise, score_table
from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader, run_names
from dashboard.data.versions import version
from dashboard.panels import failing_alone, refreshed, sentence
from dashboard.panels.curves import SHOWN, choose_look
from dashboard.panels.settings import show_differences
from dashboard.server.figures import figure_url, looked_at
from dashboard.story.contest import contest
from dashboard.story.curves import overlay_chart
from dashboard.text.language import counting, say
from dashboard.text.verbatim import verbatim
from shared.errors import DarkroomError
from shared.files.publication import read_manifest
from shared.run_folder.file_to_ship import file_state
from shared.run_folder.pending import BASE_MODEL

LOOK_SECONDS = 10.0  # for another run
PARTS, SECONDS = ("metrics", "evaluations", "settings"), 5.0


@refreshed(*PARTS, seconds=SECONDS)
def compare_panel(reader: RunReader) -> float | None:
    """The run of the page is the baseline; others are chosen here."""
    others = others_than(reader.name)
    if not others:
        st.info(say("There is only one run. Start a second one to compare them."), icon=":material/info:")
        return LOOK_SECONDS
    readers = [reader, *chosen_readers(others)]
    drawn = {one.name: version(one.run, PARTS) for one in readers[1:]}
    contestants = [contestant(one) for one in readers]
    with failing_alone("comparison in words"):
        show_contest(contestants, reader.name)
    choose_others(others)
    look = choose_look(reader)
    curves, numbers = st.columns([5, 6], gap="medium")
    with curves:
        show_chart(
            figure_url(reader.name, "compare", **looked_at(look), **{"with": [*drawn]}, drawn=[*drawn.values()]),
            run=reader.name,
            parts=SHOWN,
            group="-".join(one.run_id for one in readers) + look.view(),
            file_name="compare",
            key="overlay_chart",
            height=overlay_chart(readers, look).height,
        )
    with numbers, failing_alone("comparison in numbers"):
        show_numbers(contestants, reader.name)
    with failing_alone("comparison in pictures"):
        show_pictures(readers)
    for name, shown in drawn.items():
        watch(name, PARTS, shown, seconds=SECONDS, key=f"compared_{name}", is_another=True)
    return None


def chosen_readers(others: list[str]) -> list[RunReader]:
    """The runs to compare with."""
    st.session_state["compare"] = compared(others, st.session_state.get("compare"))
    readers: list[RunReader] = []
    for name in st.session_state["compare"]:
        try:
            one = open_reader(name)
            _ = one.config  # without its settings it cannot be compared
        except DarkroomError as error:
            st.warning(sentence(error), icon=":material/warning:")
            continue
        readers.append(one)
    return readers


def others_than(run_name: str) -> list[str]:
    """What a run can be compared with."""
    return [name for name in run_names() if name != run_name]


def compared(others: list[str], chosen: list[str] | None) -> list[str]:
    """Those of the chosen runs that exist; where nobody has chosen, the newest of the others."""
    return others[:1] if chosen is None else [name for name in chosen if name in others]


def choose_others(others: list[str]) -> None:
    """What is chosen here is known before: the sentence above it is drawn first, so that it pushes nothing."""
    st.multiselect(
        say("Compare with"),
        others,
        key="compare",
        max_selections=len(COLORS) - 1,
        persist_state="session",
        on_change=url_state.write,
    )


def show_contest(contestants: list[Contestant], baseline: str) -> None:
    """In words."""
    if len(contestants) < 2:
        st.info(say("Choose another run to compare with."), icon=":material/info:")
        return
    show_sheet(contest_data(contestants, baseline), key="contest")


def contest_data(contestants: list[Contestant], baseline: str) -> dict[str, Any]:
    """Who wins, and on what; then what is not compared."""
    said, others = contest(contestants, baseline), evaluated_otherwise(contestants, baseline)
    differ = say(
        "Not compared, because their prompts, pictures or drawing settings differ: {runs}.", runs=", ".join(others)
    )
    remarks = [words("remark", text) for text in (said.left_out, differ if others else "") if text]
    sentences = [words("sentence", text) for text in said.sentences]
    return sheet_data("contest", [words("heading", said.headline), *sentences, *remarks])


def show_numbers(contestants: list[Contestant], baseline: str) -> None:
    """Scores of the best snapshots, then the settings that differ."""
    st.markdown("## " + say("Best snapshots"))
    st.dataframe(score_table(contestants, baseline).set_index(say("run")).T.astype(str))  # a column for each run fits
    st.caption(
        say(
            "In brackets: the difference to ◆ {run} on shared prompts with its 95 % interval; ▲ better, ▼ worse.",
            run=verbatim(baseline),
        )
    )
    show_differences(contestants)


def contestant(reader: RunReader) -> Contestant:
    """A run with what there is to compare of it."""
    best, references = reader.best(), read_manifest(reader.run.references)
    return Contestant(
        name=reader.name,
        settings=reader.known_settings,
        descriptions=reader.descriptions,
        best=best,
        last_step=reader.last_step(),
        references={entry.name.removesuffix(".png"): entry.sha256 for entry in references.files} if references else {},
        evaluated=reader.result(best.step) if best else None,
        base=reader.result(BASE_MODEL),
        unit=reader.unit,
        file=file_state(reader.run, best.step) if best else "same",
    )


def show_pictures(readers: list[RunReader]) -> None:
    """The same prompts, drawn by the best snapshot of each run, else by its newest."""
    versions = {one.name: dict(one.evaluation_versions()) for one in readers}
    evaluated = [one for one in readers if versions[one.name] and not one.has_no_pictures()]
    if not evaluated:
        return
    first = evaluated[0]
    data = wall_data(
        first.name,
        first.run_id,
        descriptions=first.descriptions,
        columns=[column_of(one, versions[one.name]) for one in evaluated],
    )
    show_wall(data, key="compare_wall")


def column_of(reader: RunReader, versions: Mapping[int, str]) -> dict[str, object]:
    """One run as a column of the wall: its best snapshot, else its newest."""
    best = reader.best()
    step = best.step if best and best.step in versions else max(versions)
    with counting(reader.unit):
        title = f"{reader.name}, {say('step {step}', step=step)}"
    return {"run": reader.name, "step": step, "version": versions[step], "title": title}
