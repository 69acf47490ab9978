"""TensorBoard: `tensorboard --logdir runs` shows every table, picture and verdict of each run.

Event files are written into the run folder, without TensorFlow and torch: one for each start of the follower. What one
call delivers is one write, so that a full disk leaves all of it or nothing.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportMissingModuleSource=false
from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from shared.config.schema import Config
from shared.followers import verdict_words
from shared.followers.parameters import parameters
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.averages import trained_to
from shared.run_folder.known_settings import known_toml
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

PACKAGE = "tensorboard"
JPEG_QUALITY = 95
VERSION = "brain.Event:2"


class TensorBoard:
    """Scalars named by table and column, pictures, texts, settings for its HPARAMS page, and charts of intervals."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._written = set[tuple[object, ...]]()

    def begin(self, run: RunDir, config: Config) -> Destination:
        """Open an event file beside those of earlier starts, and see what these hold."""
        self._run = run
        folder = run.tracker("tensorboard")
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(folder.glob("events.out.tfevents.*"))
        if self._path is None:
            self._written = {key for path in earlier for event in _read(path) for key in _keys(event)}
            now = time.time()
            self._path = folder / f"events.out.tfevents.{now:020.6f}.{socket.gethostname()}.{os.getpid()}"
            self._add(list(self._settings(run, config, now)))
        first = earlier[0] if earlier else self._path
        return Destination(first.name, f"tensorboard --logdir {run.path.parent}")

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """A scalar for each number: `train/loss`, `metrics/composite` …"""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - optional

        events = [
            _event(
                row.time,
                row.step,
                summary=Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in new.items()]),
            )
            for row in rows
            if (new := {name: value for name, value in row.numbers.items() if self._is_new(name, row.step, value)})
        ]
        if table == "metrics":
            events += self._layout()
        self._add(events)

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """As JPEG, which every browser shows and which is small."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=encoded.getvalue()
        )
        if self._is_new(name, step, encoded.getvalue()):
            self._add([_event(time.time(), step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))])

    def best(self, best: Best) -> None:
        """The verdict, as text at the step that is best."""
        self._say("verdict", verdict_words.note(self._run, best), best)

    def model(self, model: Model) -> None:
        """TensorBoard keeps no files: the card says where the snapshot lies."""
        best = self._run.read_best()
        if best:
            folder = model.folder.relative_to(self._run.path)
            self._say("model card", f"{model.card}\nIn the run folder: `{folder}`\n", best)

    def end(self, code: int | None) -> None:
        """Nothing is open."""

    def _say(self, tag: str, text: str, best: Best) -> None:
        step = trained_to(best.step)
        if self._is_new(tag, step, text.encode()):
            self._add([_text(tag, text, step, parse_time(best.created).timestamp())])

    def _settings(self, run: RunDir, config: Config, now: float) -> Iterator[Any]:
        """For the page of texts and, once, for the page HPARAMS."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415

        text = f"```toml\n{known_toml(run, config)}\n```"
        if self._is_new("config", 0, text.encode()):
            yield _text("config", text, 0, now)
        if self._is_new("_hparams_/session_start_info", 0, b""):
            started = parse_time(run.read_record().created).timestamp()
            hparams = hparams_pb(parameters(run, config), trial_id=run.read_record().run_id, start_time_secs=started)
            yield _event(now, 0, summary=_as_summary(hparams))

    def _layout(self) -> list[Any]:
        """Charts with intervals, on the page CUSTOM SCALARS."""
        descriptions = self._run.read_metric_descriptions()
        layout = _margin_charts(descriptions)
        return [_event(time.time(), 0, summary=layout)] if self._is_new("layout", 0, layout.SerializeToString()) else []

    def _is_new(self, tag: str, step: int, content: float | bytes) -> bool:
        """Whether no event file of this run holds it. What is compared are the bits that it holds."""
        key = _key(tag, step, content)
        return key not in self._written

    def _add(self, events: Sequence[Any]) -> None:
        """Append to the file, whole or not at all.

        Raises:
            OSError: the disk is full, say.
        """
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

        assert self._path
        if not events:
            return
        records = io.BytesIO()
        writer = RecordWriter(records)
        head = [] if self._path.exists() else [_event(time.time(), 0, file_version=VERSION)]
        for event in (*head, *events):
            writer.write(event.SerializeToString())
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(records.getvalue()) < len(records.getvalue()):
                    raise OSError(f"{self._path} could not be written whole: the disk is full")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        self._written.update(key for event in events for key in _keys(event))


def _event(when: float, step: int, **what: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

    return Event(wall_time=when or time.time(), step=step, **what)


def _text(tag: str, text: str, step: int, when: float) -> Any:
    from tensorboard.plugins.text.summary_v2 import text_pb  # noqa: PLC0415

    return _event(when, step, summary=text_pb(tag, text))


def _as_summary(hparams: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

    return Summary.FromString(hparams.SerializeToString())


def _margin_charts(descriptions: MetricDescriptions) -> Any:
    """A chart for each number of the evaluation that has an interval."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # noqa: PLC0415
    from tensorboard.compat.proto.types_pb2 import DT_STRING  # noqa: PLC0415
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata  # noqa: PLC0415

    compared = {f"{column.title}, difference": f"{column.name}_delta" for column in descriptions.compared}
    whole = {column.title: column.name for column in descriptions.columns if column.of_whole}
    charts = [
        layout_pb2.Chart(
            title=title,
            margin=layout_pb2.MarginChartContent(
                series=[
                    layout_pb2.MarginChartContent.Series(
                        value=f"metrics/{name}", lower=f"metrics/{name}_low", upper=f"metrics/{name}_high"
                    )
                ]
            ),
        )
        for title, name in {"composite": "composite", **compared, **whole}.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="with 95 % intervals", chart=charts)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()])
    value = Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=metadata.create_summary_metadata())
    return Summary(value=[value])


def _read(path: Path) -> Iterator[Any]:
    """The whole events of a file; its torn end is left out."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader  # noqa: PLC0415

    yield from LegacyEventFileLoader(str(path)).Load()


def _keys(event: Any) -> Iterator[tuple[object, ...]]:
    for value in event.summary.value:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            yield _key(value.tag, event.step, value.simple_value)
        elif kind == "image":
            yield _key(value.tag, event.step, value.image.encoded_image_string)
        elif value.metadata.plugin_data.plugin_name == "text":
            yield _key(value.tag, event.step, value.tensor.string_val[0])
        elif value.metadata.plugin_data.plugin_name == "hparams":
            yield _key(value.tag, event.step, b"")
        elif kind == "tensor":
            yield _key("layout", 0, event.summary.SerializeToString())


def _key(tag: str, step: int, content: float | bytes) -> tuple[object, ...]:
    """Of what an event file holds; numbers are single precision there."""
    if isinstance(content, bytes):
        return tag, step, hash(content)
    try:
        return tag, step, struct.pack("<f", content)
    except OverflowError:
        return tag, step, struct.pack("<f", float("inf") if content > 0 else float("-inf"))


def create() -> TensorBoard:
    """A tracker that is not connected yet."""
    return TensorBoard()
