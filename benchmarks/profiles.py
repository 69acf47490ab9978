"""Do the metrics of the profiles tell subjects, styles and faces apart? `python benchmarks/profiles.py [FACES]`.

Subjects are drawn garments, each in other poses, before crops of photographs; and photographs, cropped, mirrored and
lit otherwise. Styles are manners of rendering photographs. FACES is a folder of photographs of people, named
`<person>-….jpg`. Each table compares with the pooled embedding, `subject_loss`. AUC: how often a picture of the subject
scores better than one of another subject; 0.5 is chance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from benchmarks.colour import Shown, before
from pocket.lessons.garments import Garment, catalogue, render
from shared.data.pictures import open_picture
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.metrics import all_metrics
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.integration.proofs.test_proofs import augmented, photographs
from tests.unit.tasks.text_to_image.metrics.trained import Trained

SEED = 40_311
NUM_SUBJECTS, NUM_LEARNT, NUM_SAMPLES = 24, 5, 3
EDGE = 128
Losses = tuple[list[float], list[float]]
"""Of pictures of the subject, and of others."""


def losses(name: str, trained: Trained, samples: Sequence[Image.Image]) -> list[float]:
    """The loss of a metric; each sample is scored as one of the whole set."""
    metric, scorer = all_metrics()[name], SCORERS[name]
    found = metric.compute(MetricInput((), samples, [""] * len(samples), training=trained), scorer.features)
    return [float(row[metric.columns[0].name] or 0) for row in found]


SCORERS = {name: load_scorer("/nowhere", metrics=(name,)) for name in ("subject", "patches", "style")}


def auc(same: Sequence[float], other: Sequence[float]) -> float:
    """How often a loss of `same` is the lower one."""
    one, two = np.array(same)[:, None], np.array(other)[None]
    return float((one < two).mean() + (one == two).mean() / 2)


def poses(garment: Garment, count: int, seed: int) -> list[Shown]:
    """The same garment, each time otherwise."""
    return [render(garment, seed + number) for number in range(count)]


def tell_subjects(backgrounds: list[Image.Image]) -> None:
    """Garments: training pictures before a wall, before photographs with masks, before photographs without."""
    place = before(backgrounds)
    settings = {
        "before a plain wall, no masks given": (False, False),
        "before photographs, masks given": (True, True),
        "before photographs, no masks": (True, False),
    }
    kinds = {"any other garment": lambda one, other: True, "the same kind in another cloth": _same_kind}
    print("\n### The subject in another pose before another background\n")
    print("| training pictures | other subjects | `subject_loss` AUC | `patch_loss` AUC |\n| --- | --- | --- | --- |")
    for told, (is_outside, has_masks) in settings.items():
        for kind, is_other in kinds.items():
            rng = np.random.default_rng(SEED)
            known, results = catalogue(), {"subject": [], "patches": []}
            for number, index in enumerate(rng.permutation(len(known))[:NUM_SUBJECTS]):
                garment, seed = known[index], SEED + 100 * number
                learnt = poses(garment, NUM_LEARNT, seed)
                learnt = [place(shown, rng) for shown in learnt] if is_outside else learnt
                trained = Trained([p for p, _ in learnt], [mask for _, mask in learnt] if has_masks else ())
                able = [one for one in known if one != garment and is_other(garment, one)]
                others = [able[i] for i in rng.choice(len(able), NUM_SAMPLES, replace=False)]
                shown = [*poses(garment, NUM_SAMPLES, seed + 50), *(render(one, seed + 70) for one in others)]
                samples = [place(one, rng)[0] for one in shown]
                for name, found in results.items():
                    scored = losses(name, trained, samples)
                    found.append(auc(scored[:NUM_SAMPLES], scored[NUM_SAMPLES:]))
            print(f"| {told} | {kind} | {np.mean(results['subject']):.3f} | {np.mean(results['patches']):.3f} |")


def _same_kind(one: Garment, other: Garment) -> bool:
    return one.kind == other.kind and (one.colour, one.pattern) != (other.colour, other.pattern)


def tell_photographs(shown: dict[str, Image.Image]) -> None:
    """Photographs of things, without masks."""
    rng, results = np.random.default_rng(SEED), {"subject": [], "patches": []}
    for name, picture in shown.items():
        trained = Trained([augmented(picture, rng) for _ in range(NUM_LEARNT)])
        same = [augmented(picture, rng) for _ in range(NUM_SAMPLES)]
        others = [augmented(one, rng) for key, one in shown.items() if key != name]
        for metric, found in results.items():
            scored = losses(metric, trained, [*same, *others])
            found.append(auc(scored[:NUM_SAMPLES], scored[NUM_SAMPLES:]))
    print(f"\n### {len(shown)} photographs, cropped, mirrored and lit otherwise, no masks\n")
    print("| `subject_loss` AUC | `patch_loss` AUC |\n| --- | --- |")
    print(f"| {np.mean(results['subject']):.3f} | {np.mean(results['patches']):.3f} |")


def sketch(picture: Image.Image) -> Image.Image:
    """Lines on white."""
    return ImageOps.invert(picture.convert("L").filter(ImageFilter.FIND_EDGES)).convert("RGB")


def poster(picture: Image.Image) -> Image.Image:
    """Few flat colours."""
    return ImageOps.posterize(picture.filter(ImageFilter.MedianFilter(7)), 2)


def oil(picture: Image.Image) -> Image.Image:
    """Strokes: the commonest level of a neighbourhood."""
    return picture.filter(ImageFilter.ModeFilter(9)).filter(ImageFilter.SHARPEN)


def halftone(picture: Image.Image) -> Image.Image:
    """Black dots."""
    return picture.convert("1").convert("RGB")


def sepia(picture: Image.Image) -> Image.Image:
    """An old print, soft."""
    grey = picture.convert("L").filter(ImageFilter.GaussianBlur(1.5))
    return ImageOps.colorize(grey, "#2b1a0b", "#f3e3c3")


MANNERS: tuple[Callable[[Image.Image], Image.Image], ...] = (sketch, poster, oil, halftone, sepia)


def tell_styles(shown: dict[str, Image.Image]) -> None:
    """Half of the contents are learnt in a manner; the other half is drawn in it, or the learnt ones in others."""
    rng = np.random.default_rng(SEED)
    names = rng.permutation(list(shown))
    learnt, fresh = names[: len(names) // 2], names[len(names) // 2 :]

    def rendered(manner: Callable[[Image.Image], Image.Image], chosen: Sequence[str]) -> list[Image.Image]:
        return [manner(augmented(shown[name], rng)) for name in chosen]

    print(f"\n### A manner learnt from {len(learnt)} photographs; means\n")
    print("| manner | set of samples | `style_loss` | `style_real` | `subject_loss` |\n| --- | --- | --- | --- | --- |")
    for manner in MANNERS:
        pictures = [manner(shown[name]) for name in learnt]
        trained = Trained(pictures)
        other = MANNERS[(MANNERS.index(manner) + 1) % len(MANNERS)]
        sets = {
            "this manner, other contents": rendered(manner, fresh),
            f"another manner ({other.__name__}), the learnt contents": rendered(other, learnt),
            "photographs of the learnt contents": [augmented(shown[name], rng) for name in learnt],
            "copies of the training pictures": pictures,
            "one training picture, again and again": [pictures[0]] * len(learnt),
        }
        scorer = SCORERS["style"]
        for told, samples in sets.items():
            rows = all_metrics()["style"].compute(
                MetricInput((), samples, [""] * len(samples), training=trained), scorer.features
            )
            style, real = (float(np.mean([row[key] for row in rows])) for key in ("style_loss", "style_real"))
            whole = float(np.mean(losses("subject", trained, samples)))
            print(f"| {manner.__name__} | {told} | {style:.3f} | {real:.3f} | {whole:.3f} |")


def tell_faces(folder: Path) -> None:
    """Each picture of a person with three or more against that person's others, and everyone else's."""
    SCORERS["face"] = load_scorer("/nowhere", metrics=("face",), face="dlib")
    pictures: dict[str, list[Image.Image]] = {}
    for path in sorted(folder.iterdir()):
        pictures.setdefault(path.stem.split("-")[0], []).append(open_picture(path))
    print(f"\n### Faces of {len(pictures)} people\n")
    print("| person | pictures | `face_loss` of another picture | of another person | `subject_loss` AUC |")
    print("| --- | --- | --- | --- | --- |")
    for person, own in pictures.items():
        if len(own) < 3:
            continue
        others = [picture for name, some in pictures.items() if name != person for picture in some]
        same, far, whole = [], [], []
        for number, one in enumerate(own):
            trained = Trained([picture for other, picture in enumerate(own) if other != number])
            scored = losses("face", trained, [one, *others])
            same, far = [*same, scored[0]], [*far, *scored[1:]]
            likeness = losses("subject", trained, [one, *others])
            whole.append(auc(likeness[:1], likeness[1:]))
        spans = (f"{min(found):.2f} to {max(found):.2f}" for found in (same, far))
        print(f"| {person} | {len(own)} | {' | '.join(spans)} | {np.mean(whole):.2f} |")


def main() -> None:
    """Print every table."""
    torch.set_num_threads(1)
    shown = photographs(512)
    tell_photographs(shown)
    tell_styles(shown)
    tell_subjects(list(shown.values()))
    if len(sys.argv) > 1:
        tell_faces(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
