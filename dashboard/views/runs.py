"""The queue, and all runs."""

from dashboard.panels import chosen_run
from dashboard.panels.job_queue import queue_panel
from dashboard.panels.runs import runs_panel

queue_panel()
runs_panel(chosen_run())
