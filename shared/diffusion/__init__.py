"""What trainer and evaluator both need of torch: loading a base model, attaching and reading a LoRA."""
