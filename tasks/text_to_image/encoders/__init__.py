"""The encoders that metrics see with."""
