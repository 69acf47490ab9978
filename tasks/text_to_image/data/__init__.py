"""The training pictures as encoded batches."""
