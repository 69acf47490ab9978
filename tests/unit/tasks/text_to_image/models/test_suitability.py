"""Settings that do not suit a family: sources, of which the families tell how many they take."""

from __future__ import annotations

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
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
