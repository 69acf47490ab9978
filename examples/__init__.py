"""Programs to look at and to learn from; each is one folder."""
