"""A fleet: many evaluators on a cluster of Ray, and one program that gives them their work."""
