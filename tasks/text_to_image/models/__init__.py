"""Base models and LoRA files: what they are, and what a run on them needs; told without torch, before loading."""
