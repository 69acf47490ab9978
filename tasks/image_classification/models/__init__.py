"""Which networks there are, and where weights to begin from lie. Only `tensors` imports torch."""
