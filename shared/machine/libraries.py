"""The libraries whose versions decide what comes out of a run."""

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")
