"""What a metric is, what it looks at, and what it looks through: shared by all metrics."""
