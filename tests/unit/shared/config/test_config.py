"""Settings: defaults < file < overrides, every problem at once, and nothing lost on the way to disk and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import pytest
import tomlkit
from pydantic import ValidationError

from shared.config.dumping import dump_config
from shared.config.loading import load_config, parse_config
from shared.config.path_settings import PATH_KEYS
from shared.config.resume_rule import Rule
from shared.config.schema import Config, known_keys, rule_of, sections
from shared.config.sections.base import Section
from shared.errors import ConfigError

ROOT = Path(__file__).resolve().parents[4]
MINIMAL = '[data]\npath = "pictures"\n'


def write(folder: Path, text: str, name: str = "dress.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_yield_to_the_file_and_the_file_yields_to_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[train]\ntrain_batch_size = 2\nlearning_rate = 1e-3\n")
    config = load_config(path, ["train.learning_rate=5e-4"])
    assert config.train.gradient_accumulation_steps == 1
    assert config.train.train_batch_size == 2
    assert config.train.learning_rate == 5e-4


def test_the_last_of_two_overrides_of_a_key_wins(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ["lora.rank=4", "lora.rank=8"])
    assert config.lora.rank == 8


def test_an_override_may_be_bare_text_or_any_toml_value(tmp_path: Path) -> None:
    overrides = [
        "model.path=owner/name",
        'lora.target_modules=["to_q"]',
        "train.snr_gamma=false",
        "evaluation.device='cpu'",
    ]
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert config.model.path == "owner/name"
    assert config.lora.target_modules == ("to_q",)
    assert config.train.snr_gamma is None
    assert config.evaluation.device == "cpu"


def test_a_run_is_named_after_its_file_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    assert load_config(path).run.name == "dress"
    assert load_config(path, ["run.name=coat"]).run.name == "coat"


def test_relative_paths_are_meant_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, MINIMAL)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load_config(path)
    assert config.data.path == str(elsewhere / "pictures")
    assert config.run.output_dir == elsewhere / "runs"


def test_every_problem_of_file_and_overrides_is_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nlearning_rat = 1\nmax_train_steps = 0\n[lora]\nrank = 'four'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["evaluation.guidance_scale=0.5"])
    message = str(caught.value)
    assert len(message.splitlines()) == 5
    assert "data is missing" in message
    assert "unknown key train.learning_rat, did you mean train.learning_rate?" in message
    assert "train.max_train_steps is 0, must be greater than or equal to 1" in message
    assert "lora.rank is 'four'" in message
    assert "evaluation.guidance_scale is 0.5" in message


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.max_grad_norm=-1", "train.max_grad_norm is -1, must be greater than 0; false or 0 switches it off"),
        ("train.text_encoder_learning_rate=0", "text_encoder_learning_rate is 0, must be greater than 0, or false"),
        ("lora.conv_rank=0", "lora.conv_rank is 0, must be greater than or equal to 1, or false"),
        ("lora.rank=0", "lora.rank is 0, must be greater than or equal to 1"),
        ("lora.target_modules=[]", "lora.target_modules is [], must have at least 1 item"),
        ("model.vae=''", "model.vae is '', must have at least 1 character"),
    ],
)
def test_a_wrong_value_is_told_in_words_with_what_switches_it_off(tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(write(tmp_path, "[data]\npath = 'pictures'\n"), [override])
    assert str(refused.value).endswith(told)


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("train.lerning_rate=1", "did you mean train.learning_rate?"),
        ("trian.seed=1", "did you mean [train]?"),
        ("train.rank=1", "did you mean lora.rank?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(tmp_path: Path, override: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match="unknown key") as caught:
        load_config(write(tmp_path, MINIMAL), [override])
    assert suggestion in str(caught.value)


@pytest.mark.parametrize("line", ['"a.b" = 1', "train = 3", "data = []"])
def test_a_value_where_a_table_belongs_is_an_error_and_no_traceback(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, line + "\n"), ["train.max_train_steps=3"])


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "'fast'", "[]"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.learning_rate is"):
        load_config(write(tmp_path, MINIMAL), [f"train.learning_rate={value}"])


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", "xpu"])
def test_a_device_that_does_not_exist_anywhere_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=rf"evaluation\.device is '{device}'"):
        load_config(write(tmp_path, MINIMAL), [f"evaluation.device={device}"])


@pytest.mark.parametrize("override", ["train.seed", "seed=1", "train.=1", "a.b.c=1", "=1"])
def test_an_override_that_is_not_section_key_value_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_config(write(tmp_path, MINIMAL), [override])


def test_a_file_that_is_missing_or_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML"):
        load_config(write(tmp_path, "[train\n", "broken.toml"))
    (tmp_path / "latin.toml").write_bytes(b'[data]\npath = "caf\xe9"\n')
    with pytest.raises(ConfigError, match=r"latin\.toml is not valid TOML"):
        load_config(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "\ufeff" + MINIMAL)).data.path.endswith("pictures")


def test_settings_in_another_encoding_or_form_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(ConfigError, match="it is UTF-16") as caught:
        load_config(tmp_path / "wide.toml")
    assert caught.value.hint == "save it as UTF-8"
    for name, form in (("a.yaml", "YAML"), ("a.json", "JSON")):
        with pytest.raises(ConfigError, match=f"is {form}, settings are read from TOML"):
            load_config(write(tmp_path, MINIMAL, name))
    with pytest.raises(ConfigError, match="is a folder") as caught:
        load_config(tmp_path)
    assert f"init {tmp_path}" in caught.value.hint
    write(tmp_path, MINIMAL, "config.toml")
    with pytest.raises(ConfigError, match="is a folder") as caught:
        load_config(tmp_path)
    assert "config.toml to resume this run" in caught.value.hint


@pytest.mark.parametrize("key", PATH_KEYS)
def test_the_home_folder_stands_for_a_tilde_in_every_path(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_config(write(tmp_path, MINIMAL), [f"{key}=~/there"])
    assert str(config.value(key)) == str(tmp_path / "home" / "there")


def test_every_setting_that_says_it_is_a_folder_or_file_is_treated_as_a_path() -> None:
    """A new one belongs into PATH_KEYS."""
    descriptions = {
        f"{section}.{key}": field.description or ""
        for section, model in sections().items()
        for key, field in model.model_fields.items()
    }
    named = {key for key, text in descriptions.items() if re.match(r"(A |An )?(\S+ )?(folder|file)\b", text, re.I)}
    assert named - {"run.name"} <= set(PATH_KEYS)


def test_relative_folders_of_models_come_out_absolute_and_keywords_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip", "efficientnet-lite0", "pocket"):
        (tmp_path / name).mkdir()
    config = load_config(
        write(tmp_path, MINIMAL),
        ["evaluation.fashion_clip=clip", "evaluation.segmenter=clip", "evaluation.visual=efficientnet-lite0"],
    )
    assert config.evaluation.segmenter == str(tmp_path / "clip")
    assert config.evaluation.fashion_clip == str(tmp_path / "clip")
    assert config.evaluation.visual == "efficientnet-lite0"
    assert config.model.path == "pocket"


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        (r'path = "C:\Users\me"', "is not valid TOML", "single quotes"),
        (r'path = "D:\pics"', "is not valid TOML", "single quotes"),
        (r'path = "D:\train\new"', "a path of Windows", "single quotes"),
        (r'path = "train\new"', "control character", "single quotes"),
        (r"path = 'C:\Users\me'", "a path of Windows", "/mnt/c"),
        (r"path = '\\server\pics'", "a path of Windows", "/mnt/c"),
        ('path = "C:/Users/me"', "a path of Windows", "/mnt/c"),
        ('path = "$HOME/pics"', "begins with a variable", "not replaced"),
        ('path = "~nobody-of-this-name/pics"', "home folder is not known", "the path itself"),
    ],
)
def test_a_path_that_can_only_be_a_slip_is_refused_with_its_cure(
    tmp_path: Path, line: str, problem: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config(write(tmp_path, f"[data]\n{line}\n"))
    assert hint in caught.value.hint


def test_what_exists_is_a_path_however_it_is_called(tmp_path: Path) -> None:
    place = tmp_path / "a\tb"
    place.mkdir()
    assert load_config(write(tmp_path, MINIMAL), [f"data.path={place}"]).data.path == str(place)


def test_wrong_values_contradictions_and_paths_are_told_together(tmp_path: Path) -> None:
    text = MINIMAL + "[train]\nlearning_rat = 1\nmin_timestep = 5\nmax_timestep = 3\n[run]\nname = 'a b'\n"
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), ["evaluation.num_prompts=40", "data.cache_dir=$X/c", "seed"])
    message = str(caught.value)
    for problem in (
        "override 'seed'",
        "run.name is 'a b'",
        "data.cache_dir is '$X/c'",
        "unknown key train.learning_rat,",
        "train.min_timestep is 5, must be at most train.max_timestep (3)",
        "evaluation.num_prompts is 40, must be at most data.num_validation (16)",
    ):
        assert problem in message
    assert len(message.splitlines()) == 6


def test_a_contradiction_of_a_wrong_value_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL), ["data.num_validation='many'", "evaluation.num_prompts=40"])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "x" * 101])
def test_a_run_name_cannot_leave_the_output_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.name"):
        load_config(write(tmp_path, MINIMAL + f'[run]\nname = "{name}"\n'))


def test_more_prompts_than_held_out_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_prompts is 9, must be at most data\.num_validation \(8\)"):
        parse_config({"data": {"path": "p", "num_validation": 8}, "evaluation": {"num_prompts": 9}})


def test_what_is_written_to_disk_reads_back_equal(tmp_path: Path) -> None:
    text = MINIMAL + '[train]\nsnr_gamma = false\nlearning_rate = 3.3e-5\n[run]\nname = "käse"\n'
    with pytest.raises(ConfigError, match="käse"):
        load_config(write(tmp_path, text))
    config = load_config(
        write(tmp_path, text.replace("käse", "cheese")), ['model.path="a \\"quoted\\" ünïcode # name"']
    )
    again = load_config(write(tmp_path, dump_config(config), "config.toml"))
    assert again == config
    assert again.train.snr_gamma is None


@pytest.mark.parametrize(("given", "written"), [("16", "16"), ("16.0", "16"), ("0.5", "0.5"), ("1e-3", "0.001")])
def test_alpha_may_be_a_fraction_and_a_whole_number_stays_one(tmp_path: Path, given: str, written: str) -> None:
    config = load_config(write(tmp_path, MINIMAL), [f"lora.lora_alpha={given}"])
    assert f"{config.lora.lora_alpha}" == written
    assert f"lora_alpha = {written}\n" in dump_config(config)
    assert json.dumps(config.model_dump(mode="json")["lora"]["lora_alpha"]) == written
    assert parse_config(tomlkit.parse(dump_config(config)).unwrap()) == config


def test_the_default_alpha_is_written_as_a_whole_number() -> None:
    assert "lora_alpha = 16\n" in dump_config(parse_config({"data": {"path": "p"}}))


@pytest.mark.parametrize("value", ["false", "0", "0.0"])
def test_clipping_can_be_switched_off(tmp_path: Path, value: str) -> None:
    config = load_config(write(tmp_path, MINIMAL), [f"train.max_grad_norm={value}"])
    assert config.train.max_grad_norm is None
    assert parse_config(tomlkit.parse(dump_config(config)).unwrap()) == config


@pytest.mark.parametrize("key", [key for key in known_keys() if key.startswith("train.")])
def test_what_can_be_switched_off_stays_off_in_the_run_folder(key: str) -> None:
    name = key.removeprefix("train.")
    try:
        config = parse_config({"data": {"path": "p"}, "train": {name: False}})
    except ConfigError:
        return
    assert parse_config(tomlkit.parse(dump_config(config)).unwrap()) == config


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_an_alpha_that_is_no_positive_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"lora\.lora_alpha is .* must be"):
        load_config(write(tmp_path, MINIMAL), [f"lora.lora_alpha={value}"])


def test_settings_never_change_after_loading() -> None:
    config = parse_config({"data": {"path": "p"}})
    with pytest.raises(ValidationError):
        config.train.seed = 3  # type: ignore[misc]


def test_every_section_and_key_has_a_sentence() -> None:
    assert "train.learning_rate" in known_keys()
    for name, section in sections().items():
        assert section.__doc__, name
        for key, field in section.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert field.description.endswith("."), f"{name}.{key}"


def test_a_setting_without_a_resume_rule_is_an_error() -> None:
    class Toy(Section):
        size: Annotated[int, Rule.STEPS] = 3
        colour: str = "red"

    assert rule_of("toy.size", Toy.model_fields["size"]) is Rule.STEPS
    with pytest.raises(TypeError, match=r"toy\.colour has no resume rule"):
        rule_of("toy.colour", Toy.model_fields["colour"])


def test_every_section_of_a_config_is_known() -> None:
    assert set(sections()) == set(Config.model_fields)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    load_config(path)
