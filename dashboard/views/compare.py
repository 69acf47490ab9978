"""This run beside others, and the sweep that they are of."""

from dashboard.panels import chosen_run
from dashboard.panels.compare import compare_panel
from dashboard.panels.sweep import sweep_panel, trials_are_shown

if trials_are_shown():
    sweep_panel(chosen_run())
    compare_panel(chosen_run())
else:
    compare_panel(chosen_run())
    sweep_panel(chosen_run())
