"""Which snapshot to ship, why, what is not certain, and the files to take away."""
