"""Which snapshot to ship: ranking, confirmation, signs of overfitting, stop rule. No torch, no files."""
