"""The encoders that the settings choose, each loaded once. One that cannot be had says why whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from shared.errors import ModelError
from tasks.text_to_image.descriptors.garment_mask import GarmentMask
from tasks.text_to_image.encoders import glyph_bank
from tasks.text_to_image.encoders.encoder import Encoder, EncoderRecord, Vector, Vectors
from tasks.text_to_image.encoders.faces import Face, FaceEncoder, load_face_encoder
from tasks.text_to_image.encoders.glyph_bank import GlyphBank
from tasks.text_to_image.encoders.judge import Judge, load_judge
from tasks.text_to_image.encoders.loading import load_encoder
from tasks.text_to_image.encoders.segmenter import Segmenter, load_segmenter
from tasks.text_to_image.profiles import NO_FACES


class MissingEncoder:
    """Stands where an encoder could not be had."""

    def __init__(self, source: str, error: ModelError) -> None:
        self.record = EncoderRecord(model=source, reason=str(error))
        self._error = error

    def embed_image(self, picture: Image.Image) -> Vector:
        """Raises ModelError."""
        raise self._error

    def embed_patches(self, picture: Image.Image) -> Vectors:
        """Raises ModelError."""
        raise self._error

    def embed_text(self, text: str) -> Vector:
        """Raises ModelError."""
        raise self._error

    def sureness(self, picture: Image.Image, prompt: str, question: str) -> float:
        """Raises ModelError."""
        raise self._error

    def garment(self, picture: Image.Image) -> GarmentMask:
        """Raises ModelError."""
        raise self._error

    @property
    def characters(self) -> tuple[str, ...]:
        """Raises ModelError."""
        raise self._error

    def rank(self, picture: Image.Image, meaning: str) -> int | None:
        """Raises ModelError."""
        raise self._error

    def face(self, picture: Image.Image) -> Face | None:
        """Raises ModelError."""
        raise self._error


class Encoders:
    """Loads encoders in float32 on one device."""

    def __init__(
        self,
        settings: Mapping[str, str | None],
        device: str = "cpu",
        segmenter_labels: Sequence[str] = (),
        judge_questions: Sequence[str] = (),
    ) -> None:
        self.judge_questions = tuple(judge_questions)
        self._settings, self.device, self._segmenter_labels = settings, device, segmenter_labels
        self._loaded: dict[str, Encoder | MissingEncoder] = {}

    def source(self, setting: str) -> str:
        """What a setting of `evaluation`, such as `visual`, chooses: a name, a folder or a hub id."""
        return self._settings.get(setting) or ""

    def load(self, source: str) -> Encoder | MissingEncoder:
        """The encoder of that source."""
        if source not in self._loaded:
            try:
                self._loaded[source] = load_encoder(source, self.device)
            except ModelError as error:
                self._loaded[source] = MissingEncoder(source, error)
        return self._loaded[source]

    def faces(self) -> FaceEncoder | MissingEncoder:
        """The one of `evaluation.face`."""
        source = self.source("face")
        try:
            if source == NO_FACES:
                raise ModelError("evaluation.face is none, so faces are not compared")
            return load_face_encoder()
        except ModelError as error:
            return MissingEncoder(source, error)

    def glyphs(self) -> GlyphBank | MissingEncoder:
        """The characters of `evaluation.glyphs`."""
        source = self.source("glyphs")
        try:
            return glyph_bank.load(source)
        except ModelError as error:
            return MissingEncoder(source, error)

    def judge(self) -> Judge | MissingEncoder:
        """The model of `evaluation.judge`."""
        source = self.source("judge")
        try:
            return load_judge(source, self.device)
        except ModelError as error:
            return MissingEncoder(source, error)

    def segmenter(self) -> Segmenter | MissingEncoder | None:
        """The model of `evaluation.segmenter`; None where none is configured."""
        source = self._settings.get("segmenter")
        if not source:
            return None
        try:
            return load_segmenter(source, self._segmenter_labels, self.device)
        except ModelError as error:
            return MissingEncoder(source, error)
