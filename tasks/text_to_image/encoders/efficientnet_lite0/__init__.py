"""EfficientNet-Lite0 with its ImageNet weights: a pretrained encoder that needs no hub and no network."""
