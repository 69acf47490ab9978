"""How several evaluators share one run folder: a slot for each program, a claim for each step."""
