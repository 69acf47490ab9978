"""The settings of a run."""

from dashboard.panels import chosen_run
from dashboard.panels.settings import settings_panel

settings_panel(chosen_run())
