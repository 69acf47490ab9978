"""Sweeps: many settings tried, each as an ordinary run, and the best named with what is known of the difference.

`read` checks a sweep file, `study` keeps the trials in Optuna's journal, `places` are where trials run, `results` reads
their run folders, `pruning` and `standing` compare them, `sweeping` is the loop.
"""
