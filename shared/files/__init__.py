"""Files: paths as people write them, digests, and folders that are published complete."""
