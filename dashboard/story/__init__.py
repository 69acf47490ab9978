"""What the first screen says of a run: state, verdict, pictures to look at, filmstrip. Values and words, no HTML."""
