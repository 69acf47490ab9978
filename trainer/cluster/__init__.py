"""The trainer's processes on a cluster of Ray, started by Ray Train."""
