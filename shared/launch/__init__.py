"""A run is created or resumed, its programs are started, watched and ended."""
