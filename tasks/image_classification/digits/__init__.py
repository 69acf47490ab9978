"""1797 handwritten digits, a real set for the demo: `digits.csv.gz`, see README.md."""
