"""What a function does → how it is called: examples from docstrings, and a small model to begin from, for the demo."""
