"""A task beside text-to-image: a straight line through the numbers of a CSV file. No base model, no pictures."""
