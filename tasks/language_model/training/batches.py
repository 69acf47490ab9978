"""The examples at positions of the stream, in rows of tokens. What is at a position depends on the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.data_order import Stream
from tasks.language_model.data.tokens import Tokens
from tasks.language_model.rows import Rows, lay_out
from tasks.language_model.settings import Settings


class Batches:
    """Training examples by position."""

    def __init__(
        self, examples: Sequence[Tokens], settings: Settings, padding: int, *, group_size: int, seed: int
    ) -> None:
        """group_size: examples of one micro-batch over all processes."""
        self._examples, self._settings, self._padding = examples, settings, padding
        self._stream = Stream([0] * len(examples), [1] * len(examples), group_size=group_size, seed=seed)
        self.tokens_per_example = sum(one.num_counted for one in examples) / len(examples)
        """That count, on average."""

    @property
    def epoch_length(self) -> int:
        """Examples of one pass."""
        return self._stream.pass_length

    def at(self, positions: range) -> Rows:
        """The examples at these positions."""
        chosen = [self._examples[self._stream.example_at(position)] for position in positions]
        return lay_out(chosen, self._settings.context_length, self._padding, packs=self._settings.packing)
