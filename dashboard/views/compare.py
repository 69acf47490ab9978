"""This run beside others."""

from dashboard.panels import chosen_run
from dashboard.panels.compare import compare_panel

compare_panel(chosen_run())
