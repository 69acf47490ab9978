"""Base models by family: loading, encoding, and one call of the denoiser."""
