"""Which snapshot to take away, and why."""

from __future__ import annotations

import streamlit as st

from dashboard.data.best_snapshot import best_file, best_table_html, signals_html
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.text.language import say
from shared.run_folder.records import Best


@refreshed(seconds=10.0)
def best_panel(reader: RunReader) -> None:
    """The verdict in words, its numbers with intervals, and the path of the file to copy."""
    best = reader.best()
    if best is None:
        return
    with st.container(border=True, key="best_snapshot"):
        words, numbers = st.columns([5, 6], gap="medium")
        with words:
            st.markdown("##### :orange[★] " + say("Best snapshot: step {step}", step=best.step))
            again = best.confirmation.reason if best.confirmation else ""  # stands below, with what it decided
            st.text(best.reason.removesuffix(again).rstrip())
            if not best.better_than_base and best.confirmation is None:
                st.warning(say("Not proven better than the base model."), icon=":material/balance:")
            st.caption(say("Evaluated snapshots: {count}. The file of this one:", count=best.num_evaluated))
            st.code(str(best_file(reader.run, best)), language=None, wrap_lines=True)
            show_confirmation(best)
        numbers.html(best_table_html(best, reader.base_metrics(), reader.descriptions) + signals_html(best))


def show_confirmation(best: Best) -> None:
    """What evaluating the finalists again said, once it was done."""
    confirmation = best.confirmation
    if confirmation is None:
        return
    icon = ":material/check_circle:" if confirmation.agrees else ":material/rule:"
    (st.success if confirmation.agrees and confirmation.better_than_base else st.warning)(
        say("The final: {reason}", reason=confirmation.reason), icon=icon
    )
