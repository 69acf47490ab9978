"""Which pairs are held out, set apart or used for regularisation."""
