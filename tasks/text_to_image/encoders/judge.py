"""Asks a vision-language model of transformers short questions about a picture, and reads how sure its yes is.

Nothing is generated: the probability of `yes` beside `no` is read from the logits of the first token of the answer, so
the same picture gives the same number. Only safetensors are read and no foreign code runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from shared.errors import ModelError
from tasks.text_to_image.encoders.encoder import EncoderRecord
from tasks.text_to_image.encoders.files import WEIGHTS, first_line, locate
from tasks.text_to_image.encoders.loading import record_of

YES, NO = ("yes", "Yes", " yes", " Yes"), ("no", "No", " no", " No")
ASKED = 'A picture was drawn for the description "{prompt}". {question} Answer with yes or no.'


@dataclass(frozen=True)
class Judge:
    """A vision-language model."""

    record: EncoderRecord
    _model: Any
    _processor: Any
    _yes: tuple[int, ...]
    _no: tuple[int, ...]

    @torch.inference_mode()
    def sureness(self, picture: Image.Image, prompt: str, question: str) -> float:
        """Probability of yes where the answer is yes or no, 0…1."""
        text = self._spelled(ASKED.format(prompt=prompt, question=question))
        inputs = self._processor(text=[text], images=[picture.convert("RGB")], return_tensors="pt")
        inputs = inputs.to(self._model.device, dtype=self._model.dtype)
        logits = self._model(**inputs).logits[0, -1].double()
        told = torch.stack([torch.logsumexp(logits[list(tokens)], dim=0) for tokens in (self._yes, self._no)])
        return float(torch.softmax(told, dim=0)[0])

    def _spelled(self, question: str) -> str:
        """As the model was trained to be asked."""
        if self._processor.chat_template is None:
            return f"{getattr(self._processor, 'image_token', '')}{question}"
        content = [{"type": "image"}, {"type": "text", "text": question}]
        told = [{"role": "user", "content": content}]
        return self._processor.apply_chat_template(told, add_generation_prompt=True, tokenize=False)


def load_judge(source: str, device: str = "cpu") -> Judge:
    """Load from a folder, the cache or the hub; in bfloat16 on a GPU, where it takes half the memory.

    Raises:
        ModelError: it cannot be had, with the reason and the cure.
    """
    folder = locate(source)
    if not (weights := sorted(folder.glob(WEIGHTS[0]))):
        raise ModelError(f"judge {source} has no model*.safetensors", "write it with `save_pretrained`")
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    kind: Any = AutoModelForImageTextToText
    try:
        model, info = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except ImportError as error:  # some processors need torchvision
        raise ModelError(
            f"judge {source} cannot be loaded: {first_line(error)}", "install the package that it names"
        ) from error
    except Exception as error:  # a broken folder fails in as many ways as there are readers
        raise ModelError(
            f"judge {source} cannot be loaded: {first_line(error)}",
            "name a vision-language model that transformers reads as image-text-to-text, in a complete folder",
        ) from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill them with random numbers
        raise ModelError(
            f"judge {source} lacks {len(missing)} weights, such as {missing[0]}",
            "download or copy the whole folder again",
        )
    model.to(device).eval()
    yes, no = (_tokens(processor, words, source) for words in (YES, NO))
    return Judge(record_of(source, folder, weights), model, processor, yes, no)


def _tokens(processor: Any, words: Sequence[str], source: str) -> tuple[int, ...]:
    """The first token of each spelling, those that the model does not know left out.

    Raises:
        ModelError: it knows none.
    """
    tokenizer = processor.tokenizer
    spelled = [tokenizer.encode(word, add_special_tokens=False) for word in words]
    known = dict.fromkeys(ids[0] for ids in spelled if ids and ids[0] != tokenizer.unk_token_id)
    if not known:
        raise ModelError(f"judge {source} has no token for {words[0]}", "name another vision-language model")
    return tuple(known)
