"""This machine: its hardware and disk, what a run will need of them, and settings that suit them."""
