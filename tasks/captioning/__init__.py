"""Captions written by a model that looks at the pictures: `run.py caption`, a process of its own."""
