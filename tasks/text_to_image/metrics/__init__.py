"""The numbers of a picture: one metric a file. A module in here that holds a `METRIC` is one; there is no list.

A metric takes a metric_input (references, samples, prompts and what else there is to compare with, paired by position:
the caller pairs by id) and the run's features; it gives a row of columns for each sample. It never invents a number:
what cannot be computed at all raises, and a single value that cannot is None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import walk_packages

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from tasks.text_to_image.metrics.artefacts import (
    FAR,
    FAR_FROM,
    FEW_PROMPTS,
    FEW_REFERENCES,
    NO_SUBJECT,
    OF_BASE,
    OF_THE_SUBJECT,
    OF_TRAINING,
    OTHERS,
)
from tasks.text_to_image.probes import probe_prompts
from tasks.text_to_image.profiles import PROFILES, Profile, profile_of, require_weights, weights_of
from tasks.text_to_image.scoring.metric import Metric

GARMENT = "garment"
"""The profile that the metrics' own files describe."""


@cache
def all_metrics() -> dict[str, Metric]:
    """Name → metric, in their order."""
    modules = [import_module(module.name) for module in walk_packages(__path__, f"{__name__}.")]
    metrics: list[Metric] = [module.METRIC for module in modules if hasattr(module, "METRIC")]
    return {metric.name: metric for metric in sorted(metrics, key=lambda metric: (metric.order, metric.name))}


def metric_names(is_wanted: Callable[[Metric], bool] = lambda metric: True) -> tuple[str, ...]:
    """Of the metrics that a garment's held-out pairs are evaluated by, or of some of them."""
    return tuple(
        name
        for name, metric in all_metrics().items()
        if metric.by_default
        and not (metric.setting or metric.for_own_prompts or metric.for_edits or metric.of_probes)
        and name not in PROFILES[GARMENT].off
        and is_wanted(metric)
    )


def pairwise_metrics() -> tuple[str, ...]:
    """Those that need no more than a reference, a sample and a prompt."""
    return metric_names(lambda metric: metric.is_pairwise)


def metrics_of(config: Config) -> tuple[str, ...]:
    """Names of the metrics that a run is evaluated by."""
    profile, has_own, probed = profile_of(config), config.evaluation.prompts is not None, probe_prompts(config)

    def is_computed(metric: Metric) -> bool:
        if metric.of_probes:
            return metric.of_probes in probed
        counts = has_own or any(column.name in profile.everywhere for column in metric.columns)
        if metric.for_edits and config.data.sources == "off":
            return False
        if metric.setting and not getattr(config.evaluation, metric.setting):
            return False
        return metric.by_default and metric.name not in profile.off and (counts or not metric.for_own_prompts)

    computed = [metric for metric in all_metrics().values() if is_computed(metric)]
    alone = [metric for metric in computed if metric.alone]
    return tuple(metric.name for metric in alone or computed)


def descriptions(config: Config | None = None) -> MetricDescriptions:
    """What an evaluator publishes of the metrics it computes in a run. None: a run of a garment's held-out pairs.

    The leading columns of `metrics.csv` are there in every run. Those that its profile does not compute stay empty.

    Raises:
        ConfigError: `evaluation.weights` names what does not count in the run.
    """
    if config is None:
        return MetricDescriptions(metrics=tuple(all_metrics()[name].describe() for name in metric_names()))
    require_weights(config)
    profile, weights, computed = profile_of(config), weights_of(config), metrics_of(config)
    metrics = [metric.describe() for metric in all_metrics().values() if metric.name in computed or _leads(metric)]
    worded = (_worded(metric, profile) for metric in metrics)
    if stand_in := _stands_in(config):
        worded = (_beside(stand_in, metric) for metric in worded)
    described = MetricDescriptions(metrics=tuple(worded)).without(unmeasured(config))
    able = {column.name for column in described.weighable}
    return described.weighed({name: weight for name, weight in weights.items() if name in able})


def unmeasured(config: Config) -> dict[str, str]:
    """Leading columns that stay empty in a run → why."""
    why = f"the profile {config.evaluation.profile} does not measure it"
    off = [all_metrics()[name] for name in profile_of(config).off]
    computed = [all_metrics()[name] for name in metrics_of(config)]
    if alone := next((metric for metric in computed if metric.alone), None):
        why = f"evaluation.{alone.setting} is set, and {alone.name} stands alone"
        off = [metric for metric in all_metrics().values() if metric is not alone]
    return {column.name: why for metric in off for column in metric.columns if column.leading}


def _leads(metric: Metric) -> bool:
    return any(column.leading for column in metric.columns)


def _worded(metric: MetricDescription, profile: Profile) -> MetricDescription:
    """With the profile's word for the subject, and what counts for every prompt in it."""

    def changed(column: Column) -> Column:
        texts = {part: _in_words(getattr(column, part), profile) for part in ("label", "aspect", "meaning")}
        return column.model_copy(update={**texts, "everywhere": column.everywhere or column.name in profile.everywhere})

    return metric.model_copy(update={"columns": tuple(map(changed, metric.columns))})


def _stands_in(config: Config) -> str:
    """Whose pictures stand in where no prompt has a reference; empty: some have one."""
    if config.data.path == NO_PICTURES:
        return OF_BASE
    return "" if config.data.num_validation else OF_TRAINING


def _beside(stand_in: str, metric: MetricDescription) -> MetricDescription:
    """A metric that compares with references, in the words of a run without any."""

    def changed(column: Column) -> Column:
        sign = column.sign
        if sign is not None and stand_in == OF_BASE and column.name in OF_THE_SUBJECT:
            return column.model_copy(update={"sign": sign.model_copy(update={"unknown": NO_SUBJECT})})
        if sign is not None:
            unknown = FEW_PROMPTS if sign.unknown == FEW_REFERENCES else sign.unknown
            sign = sign.model_copy(update={"evidence": sign.evidence.replace(OTHERS, stand_in), "unknown": unknown})
        meaning = column.meaning.replace(OTHERS, stand_in).replace(FAR, FAR_FROM[stand_in])
        return column.model_copy(update={"sign": sign, "meaning": meaning})

    return metric.model_copy(update={"columns": tuple(map(changed, metric.columns))})


def _in_words(text: str, profile: Profile) -> str:
    if profile is PROFILES[GARMENT]:
        return text
    if text == "subject":
        return profile.subject
    if text == GARMENT:  # FashionCLIP's aspect, of any CLIP
        return "content"
    return text.replace("fashion CLIP", "CLIP").replace("garment", profile.subject)
