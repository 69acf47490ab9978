"""What commands of `run.py` do that know no task."""
