"""What a page sends to be done: requests to the programs, votes, notes."""
