"""What is learnt: each task is a folder of its own."""
