"""The JSON records of a run folder, one in each file; `record.py` has what they share."""
