"""`copy_share`: which samples are one particular training picture, nearer to it than chance puts a new picture?

The test of Carlini et al. (2023, § 5): a copy is near to one training picture and as far from the next ones as any
picture is. How near chance comes is measured on pictures that copy nothing: each training picture against the others,
and each held-out one, if there are any, against all of them.

What a model has learnt by heart it may draw less exactly, but then for every seed: so prompts all of whose pictures
collapse onto one training picture are tested too, all together. That picture may be the only one of its kind, and then
every prompt of this kind comes near to it. So the prompt's pictures must be alike, as one picture drawn for every
seed is, or nearer to one another than to a training picture that has another one of its kind; and the prompts must
collapse onto two training pictures or more. A single training picture counts if the prompt's pictures are alike and
nearer to it than anything of its kind is: among poses of one subject, that is what copies look like first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import false_discovery_control

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column, Sign
from shared.statistics.nearest import probability_of_as_many_nearer, probability_of_nearer
from tasks.text_to_image.descriptors.likeness import lightness, likeness, same_place_likeness
from tasks.text_to_image.scoring.features import Features, picture_lightness
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet

Array = NDArray[np.float64]

FALSE_ALARMS = 0.001
"""Share of evaluations without a copy in which chance alone makes a picture unusual."""
FURTHEST = 0.01
"""1 − likeness of a copy to what it copies, at most. Copies that are a little soft, shifted, cropped, mirrored or
encoded again are at 0 to 0.01. Pictures of the same garment in two poses are within 0.02 in 1 of 700 pairs, within 0.01
in 1 of 11 000; where the training set has this garment once, nothing else tells them from a copy."""
COLLAPSES = 0.01
"""Share of evaluations without a copy in which chance alone collapses a prompt."""
FURTHEST_COLLAPSED = 0.2
"""1 − likeness of a collapsed prompt's pictures to the training picture, at most."""
NEARER_THAN_REFERENCE = 0.5
"""Of the distance from the prompt's own reference to that training picture, at most: a caption may explain likeness,
but it explains that of the real picture too."""
ALIKE = 0.35
"""Of the distance to the training picture, that between the prompt's own pictures, at most, where nothing else tells
that the training picture is not the only one of its kind. A model errs alike for every seed: it is 0.11 to 0.28 in
prompts of two overtrained runs. New poses of a garment that the training set has once are as far from one another as
from that picture: of 631 prompts whose pictures all come as near as a collapsed one's, 6 % are below this limit."""
ALIKE_OF_ONE_KIND = 1.0
"""The same where the training picture has another one of its kind. The errors of copies have a part in common, so they
are nearer to one another than to the picture; of new poses, one in three or more is the other way round."""
OF_ONE_KIND = 0.3
"""1 − likeness of the training picture to the nearest other one, at most: else it may be the only one of its kind.
Poses of one subject are at 0.17 to 0.32."""
MIN_COLLAPSED = 2
"""Training pictures that prompts collapse onto, at least; a single one must be as near as the next three constants say,
of one kind with another one, and the prompt's pictures alike."""
COLLAPSES_ALONE = 0.02
"""Share of evaluations without a copy in which chance alone makes a prompt's pictures as near to it."""
FURTHEST_ALONE = 0.06
"""1 − likeness of the prompt's pictures to it, at most."""
NEARER_ALONE = 0.25
"""Of the distance from that training picture to the nearest other one, at most: what is only of the same kind, or
another pose of the same subject, is further away."""
NUM_NEXT = 49
"""Training pictures after the nearest one, at most, whose mean distance is what is usual for the picture."""
NUM_BY_CHANCE = 200
"""Training pictures compared with the others, at most, evenly spread: to learn how near chance comes."""
TWIN = 0.05
"""Training pictures nearer to one another than this, relative to what is usual, count as one: a re-encoded or mirrored
copy is below it."""
IDENTICAL = 1e-4
"""Distance below which two pictures are one, whatever is usual."""
MIN_DIFFERENT = 4
"""Training pictures without which nothing is known of chance."""


def copies(metric_input: MetricInput, features: Features) -> list[Row]:
    """Which samples copy a training picture, also softer, shifted, cropped, mirrored or in another colour.

    `copy_max`: likeness to the most similar training picture, −1…1.
    `copy_ratio`: distance to the nearest training picture over the mean distance to the next `NUM_NEXT`.
    `copy_p`: the probability that a picture that copies nothing has a ratio as small.
    `copy_share`: 1 where that is too small for chance among all samples (Benjamini & Hochberg 1995) and the distance is
    at most `FURTHEST`, or where the prompt has collapsed onto a training picture; else 0.
    `copy_of`: the position of the training picture that is copied; only where one is.

    Raises:
        ModelError: there are no training pictures, or fewer than `MIN_DIFFERENT`, to compare with.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_lightness]
    training = _known(metric_input.training)
    looks = np.stack(look(metric_input.samples))
    nearest = distances(looks, training.pictures)
    by_chance = training.by_chance
    if metric_input.references:
        held_out, own = np.unique(np.stack(look(metric_input.references)), axis=0, return_inverse=True)
        of_references = _of_references(metric_input.training, held_out.tobytes())
        by_chance = np.concatenate([by_chance, training.ratios(of_references)])
        explained = of_references[own.ravel(), nearest.argmin(axis=1)]
        pairs = list(zip(metric_input.prompts, own.ravel().tolist(), strict=True))
    else:
        explained = training.next_nearest(nearest)
        pairs = [(prompt, 0) for prompt in metric_input.prompts]
    by_chance = by_chance[by_chance > TWIN]
    found = training.ratios(nearest)
    chances = probability_of_nearer(found, by_chance)
    is_copy = (false_discovery_control(chances) <= FALSE_ALARMS) & (nearest.min(axis=1) <= FURTHEST)
    is_copy |= _collapsed(pairs, looks, training, nearest, explained, by_chance)
    rows: list[Row] = []
    for number, copied in enumerate(is_copy):
        row: Row = {
            "copy_max": 1 - float(nearest[number].min()),
            "copy_ratio": float(found[number]),
            "copy_p": float(chances[number]),
            "copy_share": float(copied),
        }
        rows.append(row | ({"copy_of": float(nearest[number].argmin())} if copied else {}))
    return rows


def _collapsed(
    pairs: Sequence[tuple[str, int]],
    looks_SD: NDArray[np.float32],
    training: _Training,
    samples_SN: Array,
    explained_S: Array,
    by_chance: Array,
) -> NDArray[np.bool_]:
    """(S,) Which samples' prompts have two pictures or more, each near to the same training picture, against chance.

    pairs: prompt and reference of each sample. Equal captions with references of their own are prompts of their own
    here: each is tested, and those that collapse onto one training picture count once.

    A prompt's ratio is its largest: its pictures are not independent. A prompt that is no candidate has the ratio 1.
    Prompts count together if they collapse onto `MIN_COLLAPSED` training pictures; one counts alone where its pictures
    are alike, much nearer than needed for that, and the training picture has another one of its kind.

    explained_S: how near a real picture comes to the training picture that each sample is nearest to.
    """
    numbers, ratios = np.arange(len(samples_SN)), training.ratios(samples_SN)
    copied = samples_SN.argmin(axis=1)
    near = samples_SN[numbers, copied]
    candidate = (near <= FURTHEST_COLLAPSED) & (near <= NEARER_THAN_REFERENCE * explained_S)
    if not candidate.any():
        return candidate
    next_of_kind = training.next_nearest(samples_SN)
    much_nearer = near <= np.minimum(FURTHEST_ALONE, NEARER_ALONE * next_of_kind)
    numbers_of = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    prompt, count = np.array([numbers_of[pair] for pair in pairs]), len(numbers_of)
    largest, is_near, onto = np.ones(count), np.zeros(count, dtype=bool), np.zeros(count, dtype=int)
    for number in range(count):
        own = prompt == number
        groups = set(training.twins[copied[own]])
        if own.sum() < 2 or len(groups) > 1 or not candidate[own].all():
            continue
        apart, furthest = _furthest_apart(looks_SD[own]), near[own].max()
        alike = apart <= ALIKE * furthest
        of_one_kind = apart <= ALIKE_OF_ONE_KIND * furthest and bool((next_of_kind[own] <= OF_ONE_KIND).all())
        if alike or of_one_kind:
            largest[number], onto[number] = ratios[own].max(), groups.pop()
            is_near[number] = alike and of_one_kind and much_nearer[own].all()
    chances = probability_of_as_many_nearer(largest, by_chance) * count
    surely = largest <= largest[(chances <= COLLAPSES) & (largest < 1)].max(initial=0)
    alone = is_near & (probability_of_nearer(largest, by_chance) * count <= COLLAPSES_ALONE)
    return (alone | (surely & (len(set(onto[surely])) >= MIN_COLLAPSED)))[prompt]


def _furthest_apart(looks_SD: NDArray[np.float32]) -> float:
    """The largest distance between two of these pictures; either may be a part of the other."""
    among = distances(looks_SD, looks_SD)
    return float(np.minimum(among, among.T).max())


@dataclass(frozen=True)
class _Training:
    """The training pictures; twins count as one, or no picture that has a twin could be copied."""

    pictures: NDArray[np.float32]
    """(N, D) Their lightness."""
    twins: NDArray[np.int32]
    """(N,) Which group of twins each belongs to, 0…G − 1."""

    @classmethod
    def of(cls, pictures_ND: NDArray[np.float32]) -> _Training:
        among = np.clip(1 - same_place_likeness(pictures_ND, pictures_ND).astype(np.float64), 0, 2)
        if len(among) >= MIN_DIFFERENT:
            usual = np.sort(among, axis=1)[:, 2 : NUM_NEXT + 2].mean(axis=1)  # after itself and the nearest
            twins: Any = connected_components(among < np.maximum(TWIN * usual, IDENTICAL), directed=False)
            if twins[0] >= MIN_DIFFERENT:
                return cls(pictures_ND, twins[1])
        raise ModelError(f"there are fewer than {MIN_DIFFERENT} different training pictures to compare with")

    @cached_property
    def by_chance(self) -> Array:
        """Ratios of the first pictures of groups, each compared with the other groups; (G,) or fewer."""
        groups, firsts = np.unique(self.twins, return_index=True)
        chosen = slice(None, None, -(-len(groups) // NUM_BY_CHANCE))
        between = distances(self.pictures[firsts[chosen]], self.pictures)
        between[self.twins == groups[chosen][:, None]] = np.inf
        return self.ratios(between)

    def next_nearest(self, distances_SN: Array) -> Array:
        """(S,) How near another training picture comes to the one that each picture is nearest to.

        It stands in for a reference: that, too, is a real picture and no copy.
        """
        copied, positions = np.unique(distances_SN.argmin(axis=1), return_inverse=True)
        between = distances(self.pictures[copied], self.pictures)
        between[self.twins == self.twins[copied][:, None]] = np.inf
        return between.min(axis=1)[positions]

    def ratios(self, distances_SN: Array) -> Array:
        """The distance to the nearest group over the mean to the next, each > 0 and ≤ 1; infinite ones left out."""
        order = np.argsort(self.twins, kind="stable")
        _, starts = np.unique(self.twins[order], return_index=True)
        ordered = np.sort(np.minimum.reduceat(distances_SN[:, order], starts, axis=1), axis=1)
        usual = np.ma.masked_invalid(ordered[:, 1 : NUM_NEXT + 1]).mean(axis=1)
        return ordered[:, 0] / np.maximum(np.asarray(usual), np.finfo(float).tiny)


@lru_cache(maxsize=2)
def _known(training: TrainingSet) -> _Training:
    """Compared among themselves once per run: each snapshot asks."""
    return _Training.of(training.vectors(lightness))


@lru_cache(maxsize=2)
def _of_references(training: TrainingSet, held_out: bytes) -> Array:
    """(H, N) Their distances to the training pictures: the same for every snapshot. held_out: rows of float32."""
    pictures = _known(training).pictures
    return distances(np.frombuffer(held_out, dtype=np.float32).reshape(-1, pictures.shape[1]), pictures)


def distances(pictures_SD: NDArray[np.float32], others_ND: NDArray[np.float32]) -> Array:
    """1 − likeness of each to each; (S, N), 0…2."""
    return np.clip(1 - likeness(pictures_SD, others_ND).astype(np.float64), 0, 2)


METRIC = Metric(
    name="copying",
    order=60,
    columns=(
        Column(
            name="copy_max",
            label="similarity to the nearest training picture",
            meaning="lower is better",
            direction="lower",
            role="shown",
        ),
        Column(
            name="copy_ratio",
            meaning="distance to the nearest training picture, relative to the next ones",
            direction="none",
            role="recorded",
        ),
        Column(
            name="copy_p",
            meaning="how often chance puts a new picture as near",
            direction="none",
            role="recorded",
        ),
        Column(
            name="copy_share",
            label="pictures copied",
            meaning="share that copies one training picture: lower is better",
            direction="lower",
            role="overfitting",
            sign=Sign(
                name="copying",
                limit=0,
                each=True,
                evidence="{value} of the pictures are copies of one training picture each, nearer to it than chance "
                "puts a new picture",
                unknown="the training pictures could not be compared",
            ),
        ),
        Column(
            name="copy_of",
            label="copy of",
            meaning="the training picture it copies",
            direction="none",
            role="recorded",
            points_to="training",
        ),
    ),
    compute=copies,
    needs=("references", "training"),
    instead_of_references=("training",),
    features=(picture_lightness,),
)
