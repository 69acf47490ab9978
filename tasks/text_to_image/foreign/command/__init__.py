"""What `run.py evaluate FOLDER` is given, checks, lists and makes a run of."""
