"""Commands of `run.py` that know no task, and options that all commands share; the others lie in `tasks.commands`."""
