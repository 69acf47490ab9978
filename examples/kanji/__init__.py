"""A data set made on the spot: glyphs of kanji from fonts, their English meanings from a dictionary."""
