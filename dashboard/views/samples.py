"""Every picture of every evaluated step, side by side."""

from dashboard.panels import chosen_run
from dashboard.panels.pictures import pictures_panel

pictures_panel(chosen_run())
