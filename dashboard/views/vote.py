"""Which of two pictures is better, without knowing their steps."""

from dashboard.panels import chosen_run
from dashboard.panels.vote import vote_panel

vote_panel(chosen_run())
