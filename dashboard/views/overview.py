"""What to ship and why, then the curves."""

from dashboard.panels import chosen_run
from dashboard.panels.curves import curves_panel
from dashboard.panels.first_screen import first_screen

first_screen(chosen_run())
curves_panel(chosen_run())
