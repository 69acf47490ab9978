"""Text-to-image LoRA: what is trained, written, evaluated and exported."""
