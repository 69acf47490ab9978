"""What the programs say."""

from dashboard.panels import chosen_run
from dashboard.panels.logs import logs_panel

logs_panel(chosen_run())
