"""The numbers of a picture: one metric a file. A module of this folder that holds a `METRIC` is one; there is no list.

A metric takes a metric_input (references, samples, prompts and what else there is to compare with, paired by position:
the caller pairs by id) and the run's features; it gives a row of columns for each sample. It never invents a number:
what cannot be computed at all raises, and a single value that cannot is None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from shared.config.schema import Config
from shared.run_folder.metric_descriptions import MetricDescriptions
from tasks.text_to_image.metrics.metric import Metric


@cache
def all_metrics() -> dict[str, Metric]:
    """Name → metric, in their order."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    metrics: list[Metric] = [module.METRIC for module in modules if hasattr(module, "METRIC")]
    return {metric.name: metric for metric in sorted(metrics, key=lambda metric: (metric.order, metric.name))}


def metric_names(
    is_wanted: Callable[[Metric], bool] = lambda metric: True, *, own_prompts: bool = False
) -> tuple[str, ...]:
    """Of the metrics an evaluation computes, or of some of them. own_prompts: of a run that has prompts of its own."""
    return tuple(
        name
        for name, metric in all_metrics().items()
        if metric.by_default and (own_prompts or not metric.for_own_prompts) and is_wanted(metric)
    )


def pairwise_metrics() -> tuple[str, ...]:
    """Those that need no more than a reference, a sample and a prompt."""
    return metric_names(lambda metric: metric.is_pairwise)


def descriptions(config: Config | None = None) -> MetricDescriptions:
    """What an evaluator publishes of the metrics it computes in a run. None: a run without prompts of its own."""
    own_prompts = config is not None and config.evaluation.prompts is not None
    names = metric_names(own_prompts=own_prompts)
    return MetricDescriptions(metrics=tuple(all_metrics()[name].describe() for name in names))
