"""Base models and LoRA files, told from their headers and configurations before anything is loaded."""
