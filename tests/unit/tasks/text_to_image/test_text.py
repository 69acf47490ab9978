"""Prompts of one, two and three passes: with one as diffusers encodes them, with more as sd-scripts does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.config.schema import LoraConfig, ModelConfig
from shared.errors import ConfigError
from tasks.text_to_image.families import clip_text, loading
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.families.model import _digest as weights_digest
from tasks.text_to_image.lora import lora

FAMILIES = ["sd1", "sd2", "sdxl"]
WINDOW = 30
"""Of the tiny models' tokenizer."""
LONG = ", ".join(f"a red dress with {number} buttons" for number in range(20))
CAPTIONS = ["a red dress", "", LONG]


@pytest.fixture(scope="module")
def models(tiny_models: Path) -> dict[tuple[str, int], Model]:
    """By family and max_token_length; as in the true models, SDXL's second encoder and SD 2.x's pad with `!`."""
    found: dict[tuple[str, int], Model] = {}
    for name in FAMILIES:
        for length in (75, 150, 225):
            settings = ModelConfig(path=str(tiny_models / name))
            model = found[name, length] = loading.load_model(settings, "fp32", max_token_length=length)
            if name != "sd1":
                getattr(model.pipeline, "tokenizer" if name == "sd2" else "tokenizer_2").pad_token = "!"
    return found


def words(model: Model, count: int) -> str:
    """A prompt of exactly so many tokens."""
    prompt = " ".join(["a"] * count)
    assert model.token_lengths([prompt]).counts == (count,)
    return prompt


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_is_what_diffusers_encodes_bit_for_bit(models: dict[tuple[str, int], Model], family: str) -> None:
    model, pipeline = models[family, 75], models[family, 75].pipeline
    with torch.no_grad():
        found = model.prompt_arguments(CAPTIONS)
        device = {"device": torch.device("cpu")}
        if family == "sdxl":
            names = "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"
            expected = dict(zip(names, pipeline.encode_prompt(CAPTIONS, **device), strict=True))
        else:
            encoded = pipeline.encode_prompt(
                CAPTIONS, **device, num_images_per_prompt=1, do_classifier_free_guidance=True
            )
            expected = dict(zip(("prompt_embeds", "negative_prompt_embeds"), encoded, strict=True))
    assert found.keys() == expected.keys()
    for name, embeds in expected.items():
        assert torch.equal(found[name], embeds), name


@pytest.mark.parametrize("padding", ["<|endoftext|>", "!"])
@pytest.mark.parametrize("passes", [2, 3])
@pytest.mark.parametrize("count", [0, 3, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1, 500])
def test_pieces_have_a_start_and_an_end_of_their_own(
    models: dict[tuple[str, int], Model], padding: str, passes: int, count: int
) -> None:
    model = models["sd2" if padding == "!" else "sd1", 75]
    tokenizer: Any = model.pipeline.tokenizer
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(padding)
    ids = tokenizer(words(model, count), add_special_tokens=False).input_ids[: passes * WINDOW]
    expected: list[list[int]] = []
    for number in range(passes):
        piece = ids[number * WINDOW : (number + 1) * WINDOW]
        expected.append([start, *piece, end, *[pad] * (WINDOW - len(piece))])
    assert clip_text.token_ids(tokenizer, [words(model, count)], passes)[0].tolist() == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [150, 225])
def test_the_states_of_a_long_prompt_are_those_of_its_pieces(
    models: dict[tuple[str, int], Model], family: str, length: int
) -> None:
    """Tokens are cut, not words: two prompts of whole windows, encoded alone, are the long one's two pieces."""
    long, short = models[family, length], models[family, 75]
    first, second = words(long, WINDOW), " ".join(["dress"] * 7)
    with torch.no_grad():
        found = long.encode_captions([f"{first} {second}", "a"])
        pieces = short.encode_captions([first, second])
    states = found["encoder_hidden_states"]
    assert states.shape[:2] == (2, length // 75 * WINDOW + 2)
    expected = pieces["encoder_hidden_states"]
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(states[0, : WINDOW + 1], expected[0, :-1], **close)
    torch.testing.assert_close(states[0, WINDOW + 1 : 2 * WINDOW + 1], expected[1, 1:-1], **close)
    if family == "sdxl":
        torch.testing.assert_close(found["text_embeds"][:1], pieces["text_embeds"][:1], **close)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipeline_draws_from_long_prompts_as_it_does_elsewhere(
    models: dict[tuple[str, int], Model], tiny_models: Path, family: str
) -> None:
    model = models[family, 150]
    with torch.no_grad():
        arguments = model.prompt_arguments([LONG])
        assert arguments["negative_prompt_embeds"].shape == arguments["prompt_embeds"].shape
        empty = model.encode_captions([""])["encoder_hidden_states"]
        assert torch.equal(arguments["negative_prompt_embeds"], empty)
    plain = loading.load_model(ModelConfig(path=str(tiny_models / family)), "fp32").pipeline
    settings = {"num_inference_steps": 1, "height": 32, "width": 32, "output_type": "pt"}
    drawn = [
        pipeline(**prompt, **settings, generator=torch.Generator().manual_seed(0)).images
        for pipeline, prompt in ((model.pipeline, arguments), (plain, arguments), (plain, {"prompt": [LONG]}))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_cache_tells_longer_prompts_apart_and_keeps_what_it_has(models: dict[tuple[str, int], Model]) -> None:
    model = models["sd1", 75]
    vocabulary = str(sorted(model.pipeline.tokenizer.get_vocab().items()))
    before = hashlib.sha256((vocabulary + weights_digest(model.pipeline.text_encoder)).encode()).hexdigest()
    digests = [models["sd1", length].text_digest() for length in (75, 150, 225)]
    assert digests[0] == before
    assert len(set(digests)) == 3


def test_a_piece_that_ends_in_the_token_of_padding_still_has_an_end(models: dict[tuple[str, int], Model]) -> None:
    """SDXL pads with `!`, which also begins the word `!?`; what is pooled is found by the end."""
    tokenizer: Any = models["sdxl", 75].pipeline.tokenizer_2
    pieces = clip_text.token_ids(tokenizer, ["a " * (WINDOW - 1) + "!?"], 2)[0]
    assert pieces[0, -2] == tokenizer.pad_token_id
    assert pieces[0, -1] == pieces[1, 2] == tokenizer.eos_token_id


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_clip_skip_counts_layers_from_the_last_as_kohya_does(tiny_models: Path, family: str) -> None:
    """2 is what diffusers calls 1: the last layer but one, then the last norm."""
    model = loading.load_model(ModelConfig(path=str(tiny_models / family), clip_skip=2), "fp32")
    encoder = model.pipeline.text_encoder
    ids = clip_text.token_ids(model.pipeline.tokenizer, CAPTIONS, 1)[:, 0]
    with torch.no_grad():
        output = encoder(ids, output_hidden_states=True)
        layers = [encoder.final_layer_norm(states) for states in output.hidden_states]
        encoded = model.encode_captions(CAPTIONS)["encoder_hidden_states"]
        drawn_from = model.prompt_arguments(CAPTIONS)
    assert torch.equal(encoded, layers[-2])
    assert torch.equal(drawn_from["prompt_embeds"], encoded)
    torch.testing.assert_close(drawn_from["negative_prompt_embeds"][0], encoded[1])
    assert torch.equal(layers[-1], output.last_hidden_state)
    skipping = model.text_digest()
    model.clip_skip = 1
    assert model.text_digest() != skipping
    with torch.no_grad():
        assert torch.equal(model.encode_captions(CAPTIONS)["encoder_hidden_states"], layers[-1])


def test_layers_after_the_one_that_is_read_get_no_adapter(tiny_models: Path) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sd2"), clip_skip=3), "fp32")
    settings = LoraConfig(rank=2, lora_alpha=2, text_encoder=True)
    expected = lora.expected_shapes(model, settings)
    parts = lora.adapted(model, settings)
    lora.attach(parts, settings, model.family, model.clip_skip)
    assert lora.shapes(parts) == expected
    assert {key.partition("layers.")[2][0] for key in expected if key.startswith("text_encoder.")} == {"0"}
    model.encode_captions(["a red dress"])["encoder_hidden_states"].sum().backward()
    assert all(parameter.grad is not None for parameter in lora.parameters(parts["text_encoder"]))


@pytest.mark.parametrize(
    ("family", "clip_skip", "said"),
    [("sdxl", 2, "is SDXL, whose text encoders are always read"), ("sd1", 3, "the text encoder has 2 layers")],
)
def test_a_layer_that_cannot_be_read_is_refused(tiny_models: Path, family: str, clip_skip: int, said: str) -> None:
    settings = ModelConfig(path=str(tiny_models / family), clip_skip=clip_skip)
    with pytest.raises(ConfigError, match=said):
        loading.load_model(settings, "fp32")
