"""What the trainer learns: the pictures and captions prepared, and the held-out loss."""
