"""What the pocket models learn from: drawn garments, weaves and textures."""
