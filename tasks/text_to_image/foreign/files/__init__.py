"""What lies in another trainer's folder, and what names and headers say of it."""
