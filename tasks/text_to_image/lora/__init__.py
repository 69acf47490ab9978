"""A LoRA: attached to a base model, read, written and described."""
