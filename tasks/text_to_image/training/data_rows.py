"""`dataset.csv`: what training makes of each picture, for people who look at the data (`shared.run_folder.tables`)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from shared.config.schema import Config
from shared.data import dataset
from shared.data.buckets import Size
from shared.data.sources import Pair
from shared.data.split import groups
from shared.data.split.near_duplicates import Thumbprints
from shared.errors import DataError
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import DATA_COLUMNS, write_rows
from tasks.text_to_image.models.tokens import Lengths

log = logging.getLogger(__name__)


def write(
    run: RunDir,
    pairs: Sequence[Pair],
    trained: Collection[str],
    buckets: Mapping[str, Size],
    lengths: Lengths,
    config: Config,
) -> None:
    """One row for each pair; nothing if the disk is full, which the next save reports.

    trained: ids of the subject that are trained on. buckets: of each id, width first. lengths: of the captions of
    `pairs`, in their order.
    """
    held_out = set(run.read_record().dataset.held_out)
    limit, alike = lengths.limit(config.data.max_token_length), _alike(pairs, config)
    rows = [
        {
            "id": pair.id,
            "split": _split(pair, trained, held_out),
            "bucket": "{}×{}".format(*buckets[pair.id]),
            "tokens": count,
            "tokens_cut": max(0, count - limit),
            "alike": alike.get(pair.id),
        }
        for pair, count in zip(pairs, lengths.counts, strict=True)
    ]
    try:
        write_rows(run.dataset_csv, DATA_COLUMNS, rows)
    except OSError as error:
        log.warning("%s was not written: %s", run.dataset_csv, error.strerror)


def _split(pair: Pair, trained: Collection[str], held_out: Collection[str]) -> str:
    if pair.is_regularization:
        return "regularization"
    return "train" if pair.id in trained else "held_out" if pair.id in held_out else "left_out"


def _alike(pairs: Sequence[Pair], config: Config) -> dict[str, str]:
    """Id → the first id of those that look alike, itself included."""
    thumbprint = Thumbprints(dataset.thumbprints_path(config))
    try:
        thumbprint.look_at(pair.image for pair in pairs if not pair.is_regularization)
    except DataError as error:
        log.warning("near-duplicates were not looked for: %s", error)
        return {}
    with suppress(OSError):
        thumbprint.save()
    numbers = groups.groups([replace(pair, sources=()) for pair in pairs], "", thumbprint)
    first: dict[int, str] = {}
    return {pair_id: first.setdefault(number, pair_id) for pair_id, number in numbers.items()}
