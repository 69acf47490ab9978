"""Simplified Chinese: a file for each part of the page."""

from dashboard.text.zh_hans import data, pages, queue, sweep, tasks, verdict, vote

TEXTS: dict[str, str] = pages.TEXTS | verdict.TEXTS | vote.TEXTS | data.TEXTS | tasks.TEXTS | sweep.TEXTS | queue.TEXTS
