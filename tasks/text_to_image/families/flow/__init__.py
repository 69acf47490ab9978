"""Families of base models that learn by flow matching, one in each file."""
