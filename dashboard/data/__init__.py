"""A run as the pages see it: read as it grows, and turned into values to show."""
