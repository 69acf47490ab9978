"""Process 1: learns. Writes train.csv, snapshots/ and checkpoints/, and waits for nobody."""
