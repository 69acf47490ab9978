"""What commands do while a person waits: they start programs, watch them, and say in the terminal how it goes."""
