"""Programs that the server starts: exports, verdicts computed again."""
