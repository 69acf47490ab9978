"""A run folder without training: the contract's own writers, an invented learning curve, drawn pictures."""
