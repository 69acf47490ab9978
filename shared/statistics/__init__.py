"""Statistics of paired measurements."""
