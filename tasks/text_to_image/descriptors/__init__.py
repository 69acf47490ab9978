"""What is read from a picture by itself, without weights: mask, palette, layout, gradients."""
