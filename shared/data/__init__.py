"""Captioned pictures: found, read, checked, split and put into buckets."""
