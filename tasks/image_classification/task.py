"""What commands need of image classification: `shared.launch.task.Task`. Never imports torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from shared.config.loading import own_settings
from shared.config.path_settings import NO_PICTURES
from shared.config.schema import POCKET, Config
from shared.data import dataset
from shared.data.inspection import Inspection
from shared.data.sources.pair import Pair
from shared.data.split import groups
from shared.errors import ConfigError, DataError, writing
from shared.files.digests import Digests
from shared.files.progress_lines import spoken
from shared.launch import relocation
from shared.launch.task import Digest, Plan, Say
from shared.machine.disk import ResultBytes
from shared.machine.doctor import Finding
from shared.run_folder.records.run_record import DatasetRecord
from shared.run_folder.run_dir import RunDir
from tasks.image_classification import export
from tasks.image_classification.data import labelled, references
from tasks.image_classification.models import weights
from tasks.image_classification.settings import Settings as Settings

PREDICTION_BYTES = 200.0
"""Of one held-out picture, in the tables of a result."""
EXHIBIT_BYTES = 400_000.0
"""Of the pictures of mistakes of one result."""
TRACKER_NAMES = {
    "train/loss": "train_loss",
    "train/learning_rate": "learning_rate",
    "validation/held_out_loss": "valid_loss",
    "metrics/accuracy": "accuracy",
    "metrics/precision": "precision",
    "metrics/recall": "recall",
    "metrics/f1_score": "f1_score",
}
"""As trainers of image classifiers call them."""


def plan(config: Config, say: Say) -> Plan:
    """Check every picture and the network, and choose the held-out pictures.

    Raises:
        DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
    """
    require_suitable(config)
    identity = weights.identify(config)
    digest = Digests(dataset.digests_path(config))
    inspection = Inspection(digest=digest, progress=spoken(say, "pictures looked at"))
    pairs = labelled.scan(config, inspection, say)
    described = _describe(config, pairs, digest, say)

    def fill(run: RunDir, config: Config) -> None:
        inventory = dataset.inventory(pairs, digest, labelled.folder_of(config))
        inventory.model_copy(update={"classified": True}).write(run.dataset)
        references.publish_missing(run, config, lambda: pairs)
        with writing("data.cache_dir", dataset.cache_dir(config)):
            digest.save()

    return Plan(described, fill, identity, exports=(export.FORMAT,), tracker_names=TRACKER_NAMES)


def require_suitable(config: Config) -> None:
    """Check that the settings suit one another and this task.

    Raises:
        ConfigError, ModelError: naming everything that does not.
    """
    settings = own_settings(config, Settings)
    problems: dict[str, str] = {}
    if config.data.path == NO_PICTURES:
        problems["data.path is none: there is nothing to learn from"] = "name a folder of pictures"
    if config.data.num_validation < 2:
        problems[
            f"data.num_validation is {config.data.num_validation}, must be at least 2: snapshots are judged on them"
        ] = "set data.num_validation, such as a fifth of the pictures"
    left = config.data.num_validation - config.evaluation.num_prompts
    if config.evaluation.confirm_prompts and 0 <= left < 2:
        problems[
            f"evaluation.confirm_prompts is {config.evaluation.confirm_prompts}, but of data.num_validation "
            f"({config.data.num_validation}) evaluation.num_prompts ({config.evaluation.num_prompts}) leaves {left}: "
            "the best cannot be confirmed on other pictures"
        ] = "set evaluation.num_prompts to half of data.num_validation, or evaluation.confirm_prompts = 0"
    if config.evaluation.prompts:
        problems["evaluation.prompts is set, and nothing is drawn from prompts here"] = "leave evaluation.prompts out"
    if config.train.train_batch_size < 2:
        problems["train.train_batch_size is 1: layers that normalise over a batch need at least 2"] = (
            "set train.train_batch_size = 2 or more"
        )
    if config.train.what != "lora":
        problems[f"train.what is {config.train.what}, which is about base models that draw"] = (
            "leave train.what out: image_classification.tuning says what is trained"
        )
    problems |= _for_larger_models(config)
    if settings.pretrained and config.model.path != POCKET:
        problems["image_classification.pretrained and model.path both say which weights to begin from"] = (
            "leave one of them out"
        )
    if settings.arch_args and (settings.pretrained or config.model.path != POCKET):
        problems[
            "image_classification.arch_args is set, and the weights to begin from have a configuration already"
        ] = "leave image_classification.arch_args out"
    if problems:
        raise ConfigError("\n       ".join(problems), "; ".join(problems.values()))
    weights.require(config)


def _for_larger_models(config: Config) -> dict[str, str]:
    """Settings that save memory where a model needs it, and their cures."""
    problems: dict[str, str] = {}
    if config.train.gradient_checkpointing == "offload":
        problems['train.gradient_checkpointing is "offload", which only flow models have'] = (
            "set train.gradient_checkpointing = true"
        )
    if config.evaluation.turns:
        problems["evaluation.turns is set, which only models that do not fit beside each other need"] = (
            "leave evaluation.turns out"
        )
    return problems


def require_same_data(run: RunDir, config: Config) -> None:
    """Check that pictures and classes are those that the run was created with.

    Raises:
        DataError: some differ; the message names each.
    """
    digest = Digests(dataset.digests_path(config))
    scan_again(run, config, digest)
    relocation.remember(digest)


def scan_again(run: RunDir, config: Config, digest: Digests) -> list[Pair]:
    """The pictures that the run was made of, wherever they lie by now, with the ids they had then.

    Raises:
        DataError: they are not there, or no longer what they were; each that differs is named.
    """
    relocation.require_data(run, config)
    pairs, inventory = labelled.scan(config), run.read_inventory()
    if dataset.fingerprint(pairs, digest) == run.read_record().dataset.fingerprint or inventory is None:
        return pairs
    renamed, changes = relocation.compare(inventory, pairs, digest)
    if not changes:
        return renamed
    raise relocation.other_content(config.data.path, "pictures or classes", changes)


def moved_settings(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    """Of the changed settings those that name another place of the same pictures or the same weights.

    Raises:
        DataError: other pictures lie there.
    """
    return relocation.moved(
        run,
        changed,
        lambda: scan_again(run, config, Digests(dataset.digests_path(config))),
        lambda: weights.identify(config).get("fingerprint"),
    )


def missing_paths(run: RunDir, config: Config) -> dict[str, str]:
    """What the run needs and is not where the config says."""
    return relocation.absent(run, config, "model to begin from")


def changed_content(run: RunDir, config: Config, digest: Digest) -> Iterator[str]:
    """Whether the weights that the run began from are others by now."""
    recorded, place = run.read_record().base_model.get("fingerprint"), config.model.path
    if recorded and Path(place).exists() and weights.identify(config).get("fingerprint") != recorded:
        yield f"the model at {place} is not the one that {run.path} was made with"


def identify(run: RunDir) -> dict[str, str]:
    """The recorded weights to begin from."""
    return dict(run.read_record().base_model)


def estimate_memory(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    """Not known: networks that classify are small beside those that draw."""
    return None, []


def describe_data(config: Config) -> list[str]:
    """How many pictures each class has; nothing if they cannot be read: the next reader raises the error."""
    try:
        pairs = labelled.scan(config)
    except DataError:
        return []
    return [f"{len(labelled.classes_of(pairs))} classes: {labelled.counts(pairs)}"]


def warnings(run: RunDir, config: Config) -> list[str]:
    """Classes without a held-out picture: nothing is known of them."""
    inventory = run.read_inventory()
    if inventory is None:
        return []
    held_out = set(references.first(config, run.read_record()))
    shown = {pair.caption for pair in inventory.pairs if pair.id in held_out}
    lacking = [name for name in sorted({pair.caption for pair in inventory.pairs}) if name not in shown]
    if not lacking:
        return []
    named = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
    return [
        f"snapshots are judged without a picture of {named}: nothing is known of these classes. Hold out more "
        "(data.num_validation) and judge on more (evaluation.num_prompts)"
    ]


def result_bytes(config: Config) -> ResultBytes:
    """Tables of predictions, and the pictures of mistakes."""
    each, evaluation = EXHIBIT_BYTES + PREDICTION_BYTES * config.evaluation.num_prompts, config.evaluation
    again = EXHIBIT_BYTES + PREDICTION_BYTES * config.data.num_validation
    return ResultBytes(each, (1 + evaluation.finalists) * again if evaluation.confirm_prompts else 0.0)


def doctor_checks() -> list[Finding]:
    """Nothing beyond what training of any kind needs."""
    return []


def _left_by_folders(config: Config, pairs: list[Pair], held_out: list[str]) -> list[str]:
    """Of the pictures that folders keep from training those that are not held out."""
    found = labelled.split_of(config.data.path, pairs)
    return sorted(found.not_trained_on - set(held_out)) if found else []


def _describe(config: Config, pairs: list[Pair], digest: Digests, say: Say) -> DatasetRecord:
    if copied := dataset.copies(pairs, digest):
        say(f"{copied}: only one of each is held out, and none of it is trained on then")
    if wrong := labelled.contradictions(pairs, digest):
        say(wrong)
    named = config.data.validation_ids
    distinct = dataset.one_of_each(pairs, digest, named)
    together = groups.groups(distinct, config.data.group_key) if config.data.group_key else {}
    held_out = labelled.choose_held_out(groups.one_of_each(distinct, together, named), config)
    apart = list(dict.fromkeys([*groups.set_apart(held_out, together), *_left_by_folders(config, pairs, held_out)]))
    training = labelled.training_pairs(pairs, [*held_out, *apart], config, digest)
    say(f"{len(training)} pictures are trained on, {len(held_out)} held out: {labelled.counts(training)}")
    return DatasetRecord(
        path=config.data.path,
        num_images=len(pairs),
        fingerprint=dataset.fingerprint(pairs, digest),
        pass_length=len(training),
        held_out=tuple(held_out),
        set_apart=tuple(apart),
    )
