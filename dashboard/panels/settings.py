"""The settings of a run, their meaning, and how they differ from the defaults."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pandas as pd
import streamlit as st
import tomlkit
from pydantic.fields import FieldInfo

from dashboard.components.sheet import Block, sheet_data, show_sheet, table, words
from dashboard.data.comparison import Contestant, config_differences, flatten, spell
from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader, run_names
from dashboard.panels import refreshed
from dashboard.story.wording import trained_elsewhere
from dashboard.text.language import say
from shared.config import save_interval
from shared.config.save_interval import EverySteps
from shared.config.schema import sections
from shared.run_folder.known_settings import FACTS, MEANINGS, Settings
from shared.run_folder.records.run_record import Change, RunRecord


@refreshed("settings")
def settings_panel(reader: RunReader) -> None:
    """All settings, or only those that differ from the defaults; compared with another run if one is chosen."""
    others = [name for name in run_names() if name != reader.name]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="settings_choice"):
        only_set = st.toggle(say("Only what differs from the defaults"), key="only_set", persist_state="session")
        other = st.selectbox(
            say("Compare with"), others, index=None, key="config_other", placeholder=say("another run"), width=280
        )
    if other:
        both = (reader, open_reader(other))
        show_differences([Contestant(one.name, one.known_settings, one.descriptions) for one in both])
    show_sheet(settings_data(reader, only_set=only_set), key="settings")
    with st.expander(say("As TOML, to copy")):
        st.code(toml(reader), language="toml")


def settings_data(reader: RunReader, *, only_set: bool = False) -> dict[str, Any]:
    """What they started from, the changes made when the run was resumed, and all of them or those that differ from the
    defaults."""
    record = reader.run.read_record()
    settings = settings_table(reader.known_settings, FACTS.values() if record.imported else ())
    shown = settings.loc[settings[say("changed")] != "", :] if only_set else settings
    return sheet_data("settings", [*origin(record), table(shown)])


def toml(reader: RunReader) -> str:
    """The run's file; of another trainer's LoRAs the tables of it that say something of them."""
    text = reader.run.config.read_text(encoding="utf-8")
    if not reader.run.read_record().imported:
        return text
    shown = reader.known_settings
    tree: dict[str, Any] = tomlkit.parse(text).unwrap()
    return tomlkit.dumps(
        {
            table: {key: value for key, value in values.items() if key in shown[table]}
            for table, values in tree.items()
            if table in shown
        }
    )


def origin(record: RunRecord) -> Iterator[Block]:
    """The preset that the settings started from, and the changes made when the run was resumed."""
    if text := trained_elsewhere(record):
        yield words("remark", text)
    if preset := record.preset:
        yield words("remark", say("Preset {name}: {reason}", name=preset.name, reason=preset.reason))
    if record.changes:
        yield words("heading", say("Changed when the run was resumed"))
        yield table(changes_table(record.changes))
        yield words("heading", say("Settings"))


def changes_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Oldest first."""
    return pd.DataFrame(
        [
            {
                say("setting"): change.key,
                say("before"): spell(change.before),
                say("after"): spell(change.after),
                say("after step"): change.step,
                say("changed at"): change.created[:19].replace("T", " "),
            }
            for change in changes
        ]
    )


def settings_table(settings: Settings, facts: Collection[str] = ()) -> pd.DataFrame:
    """Key, value, default and meaning of these settings. facts: those of another program, which has other defaults."""
    values, meanings = flatten(settings), dict(MEANINGS)
    defaults: dict[str, str] = {}
    for section, model in sections().items():
        for key, field in model.model_fields.items():
            name = f"{section}.{key}"
            meanings[name] = field.description or ""
            defaults[name] = "" if field.is_required() or name in facts else default_of(field)
    rows = [
        {
            say("setting"): name,
            say("value"): spell(value),
            say("default"): defaults.get(name, ""),
            say("changed"): "●" if name not in facts and spell(value) != defaults.get(name, spell(value)) else "",
            say("meaning"): meanings.get(name, ""),
        }
        for name, value in values.items()
    ]
    return pd.DataFrame(rows)


def default_of(field: FieldInfo) -> str:
    """As a setting of that value is spelled."""
    known = field.get_default(call_default_factory=True)
    if isinstance(known, EverySteps):
        known = save_interval.dump(known)
    return spell(list(known) if isinstance(known, tuple) else known)


def show_differences(contestants: Sequence[Contestant]) -> None:
    """Only the settings that differ between runs."""
    st.markdown("## " + say("Settings that differ"))
    differing = config_differences(contestants)
    if differing.empty:
        st.caption(say("None."))
    else:
        st.dataframe(differing, hide_index=True)
