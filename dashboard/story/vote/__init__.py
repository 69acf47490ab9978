"""The page of votes: which two pictures come next, and what the votes say."""
