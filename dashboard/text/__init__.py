"""The page's words: languages, and numbers and times as people read them."""
