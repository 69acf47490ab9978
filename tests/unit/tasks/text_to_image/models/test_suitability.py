"""Settings that do not suit a family: sources, of which the families tell how many they take."""

from __future__ import annotations

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.data.prompt_file import OwnPrompt
from shared.errors import ConfigError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import suitability


def config(family: Family, sources: str) -> Config:
    scheduler = "own" if family.samplers else "DPMSolverMultistepScheduler"
    return parse_config({"data": {"path": "data", "sources": sources}, "evaluation": {"scheduler": scheduler}})


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_sources_are_refused_where_a_family_takes_none_and_missed_where_it_needs_some(family: Family) -> None:
    if family.most_sources == 0:
        with pytest.raises(ConfigError, match=r"data\.sources is files, but .* draws from a text alone") as refused:
            suitability.require(config(family, "files"), family)
        assert refused.value.hint == "set data.sources to off, or choose an edit model"
    else:
        suitability.require(config(family, "files"), family)
    if family.needs_sources:
        with pytest.raises(ConfigError, match=r"data\.sources is off, but .* edits pictures") as refused:
            suitability.require(config(family, "off"), family)
        assert "<name>.source.png" in refused.value.hint
    else:
        suitability.require(config(family, "off"), family)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_prompts_of_ones_own_have_as_many_sources_as_the_family_draws_from(family: Family) -> None:
    faults = [
        list(suitability.own_prompts(family)(OwnPrompt(1, "a", sources=("s.png",) * count))) for count in range(5)
    ]
    allowed = [count for count in range(5) if not faults[count]]
    most = 4 if family.most_sources is None else family.most_sources
    assert allowed == list(range(0 if family.draws_from_text else 1, most + 1))
    assert all(family.title in told for texts in faults for told in texts)
