"""Every snapshot: its worth, its file, what people say about it."""

from dashboard.panels import chosen_run
from dashboard.panels.snapshots import snapshots_panel

snapshots_panel(chosen_run())
