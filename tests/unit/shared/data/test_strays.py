"""Pictures that are no data are passed over and named, whether or not a trigger word would caption them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.data.survey import survey
from shared.errors import DataError
from tests.unit.shared.data.test_dataset import add, scan

TRIGGER = pytest.mark.parametrize("trigger_word", ["", "ohwx"])


def ids(path: Path, **data: object) -> list[str]:
    return [pair.id for pair in scan(path, **data)]


@TRIGGER
def test_samples_and_logs_beside_kohyas_folders_are_passed_over(tmp_path: Path, trigger_word: str) -> None:
    for name in ("img/10_dress/a.png", "reg/1_dress/c.png", "model/sample/e1.png", "model/sample/e2.png", "log/x.png"):
        add(tmp_path, name, None)
    add(tmp_path, "img/old/b.png", "a captioned one")
    assert ids(tmp_path, trigger_word=trigger_word) == ["img/10_dress/a", "img/old/b", "reg/1_dress/c"]
    assert (
        "3 picture(s) without caption outside the folders <repeats>_<class> are not used, in "
        f"{tmp_path / 'log'}, {tmp_path / 'model/sample'}"
    ) in survey(tmp_path, trigger_word).notices


def test_kohyas_folders_for_regularization_alone_do_not_make_the_subject_a_stray(tmp_path: Path) -> None:
    add(tmp_path, "reg/1_dress/c.png", None)
    add(tmp_path, "a.png", None)
    assert ids(tmp_path, trigger_word="ohwx") == ["a", "reg/1_dress/c"]
    with pytest.raises(DataError, match=r"a\.png: no caption file"):
        ids(tmp_path)


def test_a_caption_missing_inside_kohyas_folder_is_missed(tmp_path: Path) -> None:
    add(tmp_path, "10_dress/a.png", "a dress")
    add(tmp_path, "10_dress/b.png", None)
    with pytest.raises(DataError, match=r"b\.png: no caption file"):
        ids(tmp_path)


@TRIGGER
@pytest.mark.parametrize("above", ["", "img/", "10_dress/"])
def test_a_folder_named_picture_by_picture_like_captioned_ones_is_passed_over(
    tmp_path: Path, above: str, trigger_word: str
) -> None:
    for name in ("a", "b"):
        add(tmp_path, f"{above}{name}.png", f"a dress {name}")
        add(tmp_path, f"{above}control/{name}.jpg", None)
        add(tmp_path, f"{above}masks/{name.upper()}_mask.png", None)
    assert ids(tmp_path, trigger_word=trigger_word) == [f"{above}a", f"{above}b"]
    notices = "\n".join(survey(tmp_path, trigger_word).notices)
    for folder in ("control", "masks"):
        assert f"{tmp_path / above / folder}: not used; its 2 picture(s) have no captions" in notices


def test_a_folder_with_other_names_or_a_caption_of_its_own_is_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path, f"{name}.png", "a dress")
        add(tmp_path, f"back/{name}.png", "its back" if name == "a" else None)
        add(tmp_path, f"more/{name}{name}.png", None)
    assert ids(tmp_path, trigger_word="ohwx") == ["a", "b", "back/a", "back/b", "more/aa", "more/bb"]


def test_two_kohya_folders_may_use_the_same_names(tmp_path: Path) -> None:
    add(tmp_path, "10_dress/1.png", "a red dress")
    add(tmp_path, "5_hat/1.png", None)
    assert ids(tmp_path, trigger_word="ohwx") == ["10_dress/1", "5_hat/1"]
