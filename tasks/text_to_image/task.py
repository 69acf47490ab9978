"""What commands ask of text-to-image before any program starts; `shared.launch.task.Task`. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.config import epochs, targets
from shared.config.path_settings import FOLDER_KEYS
from shared.config.schema import Config
from shared.data import buckets, dataset, held_out, references
from shared.data.headers import Headers
from shared.data.inspection import Inspection
from shared.data.sources import Pair
from shared.errors import DataError, writing
from shared.files.digests import Digests
from shared.files.progress_lines import spoken
from shared.launch import relocation
from shared.launch.task import Plan, Say
from shared.run_folder.records import DatasetRecord, InitialLora
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.models import base_model, external_vae, lora_file, precheck, tokens
from tasks.text_to_image.places import absent as absent
from tasks.text_to_image.places import moved as moved
from tasks.text_to_image.places import replaced as replaced


def plan(config: Config, say: Say) -> Plan:
    """Look at every picture and at the base model, and hold pairs out.

    Raises:
        DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
    """
    base_model.require_known_targets(config.lora.target_modules)
    initial_lora = _initial_lora(config)
    digest = Digests(dataset.digests_path(config))
    headers = Headers(dataset.headers_path(config))
    pairs = dataset.scan(config, Inspection(headers, digest, spoken(say, "pictures looked at")), say)
    described = _describe(config, pairs, digest)
    _require_suitable(config)
    if multiple := base_model.size_multiple(config.model):
        buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)

    def fill(run: RunDir, config: Config) -> None:
        dataset.inventory(pairs, digest, dataset.folder_of(config)).write(run.dataset)
        if multiple:
            references.publish_missing(run, config, multiple, lambda: pairs)
        with writing("data.cache_dir", dataset.cache_dir(config)):
            digest.save()
            headers.save()

    settings = config.model
    identity = base_model.identify(settings.path, revision=settings.revision, variant=settings.variant, digest=digest)
    identity = {**identity, **external_vae.identify(settings)}
    return Plan(described, fill, identity, _folders(config), initial_lora)


def require_same_data(run: RunDir, config: Config) -> None:
    """Check that the pictures and captions are those that the run was made of.

    Raises:
        DataError: they are not; each that differs is named.
    """
    digest = Digests(dataset.digests_path(config))
    relocation.scan_again(run, config, digest)
    relocation.remember(digest)


def identify(run: RunDir) -> dict[str, str]:
    """The base model as the record has it, and the commits of hub ids that were out of reach when the run was made."""
    found, settings = dict(run.read_record().base_model), run.read_config().model
    if not found.keys() & {"fingerprint", "commit"} and (
        commit := base_model.resolve_commit(settings.path, settings.revision)
    ):
        found["commit"] = commit
    if not found.keys() & {"vae_fingerprint", "vae_commit"}:
        found |= external_vae.identify(settings)
    return found


def forecast(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    """The memory estimate, to record and to say."""
    found = precheck.examine(config, with_evaluator=with_evaluator)
    return precheck.record(found), precheck.sentences(found, config.model.path)


def cautions(config: Config) -> list[str]:
    """Too few prompts to tell a difference, pictures too small for the model."""
    found = (held_out.caution(config.evaluation.num_prompts), precheck.resolution_notice(config))
    return [text for text in found if text]


def expectations(config: Config) -> list[str]:
    """How long the captions are in tokens; nothing where the data set cannot be read: whoever needs it says so."""
    try:
        captions = [pair.caption for pair in dataset.scan(config)]
    except DataError:
        return []
    return [tokens.sentence(captions, config.model, config.data.max_token_length)]


def _describe(config: Config, pairs: Sequence[Pair], digest: Digests) -> DatasetRecord:
    seed = config.train.seed
    named = config.data.validation_ids
    distinct = dataset.one_of_each(pairs, digest, named)
    chosen = held_out.choose(distinct, config.data.num_validation, seed, named)
    training = dataset.training_pairs(pairs, chosen, config.data.train_size, seed, digest)
    return DatasetRecord(
        path=config.data.path,
        num_images=len(pairs),
        num_regularization=sum(pair.is_regularization for pair in pairs),
        fingerprint=dataset.fingerprint(pairs, digest),
        pass_length=epochs.pass_length(training, dataset.regularization_pairs(pairs, chosen, digest)),
        held_out=tuple(chosen),
    )


def _require_suitable(config: Config) -> None:
    """Raises ModelError or ConfigError where base model and settings do not suit one another."""
    base_model.require_same_description(config.model)
    base_model.require_clip_skip(
        config.model.clip_skip, base_model.family(config.model.path, revision=config.model.revision)
    )
    targets.require_matrices(
        config.lora.target_modules,
        config.train.optimizer,
        linear_projections=base_model.has_linear_projections(config.model) is not False,
        use_dora=config.lora.use_dora,
    )


def _folders(config: Config) -> dict[str, str]:
    """Fingerprints of the local folders that settings name, beside data set and base model."""
    named = {key: base_model.local_folder(config.value(key)) for key in FOLDER_KEYS}
    return {key: base_model.folder_fingerprint(folder) for key, folder in named.items() if folder}


def _initial_lora(config: Config) -> InitialLora | None:
    """The file of `lora.init_from`, found fit for these settings."""
    if not config.lora.init_from:
        return None
    file = lora_file.read(Path(config.lora.init_from))
    lora_file.check(file, config.lora, base_model.family(config.model.path, config.model.revision))
    return file.record()
