"""Every picture that is trained on or held out, with its caption."""

from dashboard.panels import chosen_run
from dashboard.panels.data import data_panel

data_panel(chosen_run())
