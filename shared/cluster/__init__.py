"""A cluster of Ray: its address as people give it, and the connection."""
