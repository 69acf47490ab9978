"""A snapshot evaluated: its file proven, its pictures generated and scored."""
