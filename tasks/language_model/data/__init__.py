"""Examples of texts: how they are found, split, kept with a run, and turned into tokens. No torch."""
