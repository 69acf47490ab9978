"""A causal language model learns from texts by a LoRA. Judged on held-out examples, by its loss and by its answers."""
