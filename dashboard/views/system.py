"""The machine and the programs."""

from dashboard.panels import chosen_run
from dashboard.panels.system import machine_panel, provenance_panel, series_panel

machine_panel(chosen_run())
series_panel(chosen_run())
provenance_panel(chosen_run())
