"""Files: paths as people write them, digests, and folders that appear whole."""
