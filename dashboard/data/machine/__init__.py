"""What the machine does now, and what it did while a run was at work."""
