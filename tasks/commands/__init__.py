"""Commands of `run.py` that ask the task of a run or of a data set; the others lie in `shared.launch.commands`."""
