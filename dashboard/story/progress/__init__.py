"""What the programs of a run do: the status line, the queue, what was asked of them, what is waited for."""
