"""Files of another trainer become snapshots of a run."""
