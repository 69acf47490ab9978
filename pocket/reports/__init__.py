"""What the pocket models can do, measured and written down."""
