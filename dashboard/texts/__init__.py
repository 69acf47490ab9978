"""The translations, one plain dictionary per language: the English text → the same in that language."""
