"""Pictures of known classes: how they are found, split and kept with a run. No torch."""
