"""Process 2: judges. Reads snapshots/, writes evaluations/, metrics.csv and best.json, and slows nobody down."""
