"""All runs."""

from dashboard.panels import chosen_run
from dashboard.panels.runs import runs_panel

runs_panel(chosen_run())
