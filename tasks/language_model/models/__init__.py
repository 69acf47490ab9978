"""The base model before it is loaded: where its files lie, what they say, and how much memory it takes. No torch."""
