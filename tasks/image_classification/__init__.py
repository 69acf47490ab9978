"""Image classification: each picture gets one of a few classes. Judged on held-out pictures."""
