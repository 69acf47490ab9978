"""Commands of `run.py` that know no task, and what all commands share; the others lie in `tasks.commands`."""
