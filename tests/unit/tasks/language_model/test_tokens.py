"""Examples become tokens as transformers makes them, and what counts is what is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from shared.errors import DataError, ModelError
from tasks.language_model.data.examples import Example, Message
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import Tokens, fitting, question_of, tokens_of
from tasks.language_model.settings import Settings
from tests import tiny_language

TALK = Example("talk", messages=tuple(
    Message(role, text) for role, text in (
        ("system", "be brief"), ("user", "red?"), ("assistant", "no"), ("user", "blue?"), ("assistant", "yes")
    )
))  # fmt: skip
PLAIN = Example("plain", prompt="Backwards: a b\n", completion="b a")
SETTINGS = Settings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    tiny_language.write_tokenizer(made)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


def counted(tokens: Tokens, tokenizer: Tokenizer) -> str:
    return tokenizer.decode(tokens.ids[tokens.counted].tolist())


def test_a_conversation_is_written_as_transformers_writes_it(folder: Path, tokenizer: Tokenizer) -> None:
    said = [{"role": one.role, "content": one.content} for one in TALK.messages]
    usual = AutoTokenizer.from_pretrained(folder)
    for asks, part in ((False, said), (True, said[:-1])):
        expected = usual.apply_chat_template(part, tokenize=False, add_generation_prompt=asks)
        assert tokenizer.render(TALK.messages[: len(part)], asks=asks) == expected
    tokens = tokens_of(TALK, tokenizer, SETTINGS)
    assert tokens.ids.tolist() == usual.apply_chat_template(said)["input_ids"]
    assert counted(tokens, tokenizer) == "no\nyes\n", "the ends of the turns count as well"
    assert tokens.num_counted == len("no") + len("yes") + 2 * 2


def test_tokens_begin_with_those_of_the_question(tokenizer: Tokenizer) -> None:
    for one in (PLAIN, TALK):
        asked, _, expected = question_of(one, tokenizer, SETTINGS)
        tokens = tokens_of(one, tokenizer, SETTINGS)
        assert tokens.ids[: len(asked)].tolist() == asked
        assert expected == one.expected
    assert counted(tokens_of(PLAIN, tokenizer, SETTINGS), tokenizer) == "b a"
    assert tokens_of(PLAIN, tokenizer, SETTINGS).ids[-1] == tokenizer.end
    everything = tokens_of(PLAIN, tokenizer, Settings(mask_prompt=False))
    assert everything.num_counted == len(everything.ids) - 1


def test_a_text_is_learnt_whole_and_its_second_half_is_expected(tokenizer: Tokenizer) -> None:
    text = Example("text", text="once upon a time")
    assert tokens_of(text, tokenizer, SETTINGS).num_counted == len(text.text)
    _, asked, expected = question_of(text, tokenizer, SETTINGS)
    assert (asked, expected) == ("once upo", "n a time")


def test_a_token_that_would_cross_the_border_is_taken_apart_there(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Vocabulary  # noqa: PLC0415
    from tokenizers import models  # noqa: PLC0415

    Vocabulary(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).save(str(tmp_path / "tokenizer.json"))
    tokens = tokens_of(Example("x", prompt="ba", completion="ba"), Tokenizer(tmp_path), SETTINGS)
    assert tokens.ids.tolist() == [1, 0, 1, 0], "b·a·b·a, and not b·ab·a"
    assert tokens.counted.tolist() == [False, False, True, True]


def test_messages_without_a_template_have_a_cure(tmp_path: Path) -> None:
    tiny_language.write_tokenizer(tmp_path, template=False)
    with pytest.raises(ModelError, match="no chat template") as told:
        tokens_of(TALK, Tokenizer(tmp_path), SETTINGS)
    assert told.value.hint.startswith("write prompt and completion")


def test_a_template_that_forgets_what_was_said_is_refused(tmp_path: Path) -> None:
    tiny_language.write_tokenizer(tmp_path, template=False)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    with pytest.raises(DataError, match="not known which tokens"):
        tokens_of(TALK, Tokenizer(tmp_path), SETTINGS)
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(DataError, match="roles must alternate"):
        tokens_of(TALK, Tokenizer(tmp_path), SETTINGS)


def test_examples_that_are_too_long_are_refused_left_out_or_cut(tokenizer: Tokenizer) -> None:
    long = Example("long", prompt="a" * 20, completion="b" * 20)
    hidden = Example("hidden", prompt="a" * 40, completion="b")
    with pytest.raises(DataError, match="2 examples have more than") as told:
        fitting([PLAIN, long, hidden], tokenizer, Settings(context_length=24))
    assert "language_model.context_length = 42" in told.value.hint
    said: list[str] = []
    assert list(fitting([PLAIN, long], tokenizer, Settings(context_length=24, too_long="skip"), said.append)) == [
        "plain"
    ]
    assert "left out: long" in said[0]
    cut = fitting([PLAIN, long, hidden], tokenizer, Settings(context_length=24, too_long="cut"), said.append)
    assert {name: (len(one.ids), one.num_counted) for name, one in cut.items()} == {"plain": (19, 4), "long": (24, 4)}
