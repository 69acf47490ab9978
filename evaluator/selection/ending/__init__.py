"""What follows training: averages of neighbours, the final, other strengths."""
