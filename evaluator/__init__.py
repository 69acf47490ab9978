"""Process 2: evaluates. Reads snapshots/, writes evaluations/, metrics.csv and best.json, and slows nobody down."""
