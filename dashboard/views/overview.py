"""How the run goes: curves, the best snapshot, a few pictures."""

from dashboard.panels import chosen_run
from dashboard.panels.best import best_panel
from dashboard.panels.curves import curves_panel
from dashboard.panels.pictures import strip_panel

curves_panel(chosen_run())
best_panel(chosen_run())
strip_panel(chosen_run())
