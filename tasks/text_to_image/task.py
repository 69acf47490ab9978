"""What commands need of text-to-image before any program starts: `shared.launch.task.Task`. Never imports torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.config import epochs, targets
from shared.config.path_settings import DENOISER, FOLDER_KEYS, NO_PICTURES, TRAINING_ADAPTER
from shared.config.schema import Config
from shared.data import buckets, dataset, prompt_file, references
from shared.data.headers import Headers
from shared.data.inspection import Inspection
from shared.data.prompt_file import OwnPrompt
from shared.data.sources import Pair
from shared.data.split import groups, held_out
from shared.data.split.near_duplicates import Thumbprints
from shared.errors import ConfigError, DataError, ModelError, writing
from shared.files.digests import Digests
from shared.files.progress_lines import spoken
from shared.launch import relocation
from shared.launch.task import Plan, Say
from shared.machine.disk import ResultBytes
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.run_record import DatasetRecord, InitialLora
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import profiles
from tasks.text_to_image.doctor_checks import doctor_checks as doctor_checks
from tasks.text_to_image.encoders import files
from tasks.text_to_image.models import (
    adaptable,
    base_model,
    drawing_model,
    external_vae,
    lora_file,
    memory,
    precheck,
    suitability,
    tokens,
    trained_whole,
)
from tasks.text_to_image.places import changed_content as changed_content
from tasks.text_to_image.places import missing_paths as missing_paths
from tasks.text_to_image.places import moved_settings as moved_settings

Describe = Callable[[Config, Sequence[Pair], Digests, Thumbprints, Say], DatasetRecord]
PNG_BYTES_PER_PIXEL = 1.8
EXPORTS = (
    ExportFormat(name="diffusers", programs="diffusers", file="pytorch_lora_weights.safetensors"),
    ExportFormat(name="kohya", programs="ComfyUI, A1111, Forge", ending="-fp16.safetensors"),
    ExportFormat(name="peft", programs="PEFT", ending="-fp16.zip"),
)
"""What `export` writes of a LoRA; fp16 is its default."""
WHOLE_EXPORTS = (ExportFormat(name="diffusers", programs="diffusers, as a whole pipeline", ending="-fp16.zip"),)
"""Of a run that trains the denoiser."""


def plan(config: Config, say: Say, describe: Describe | None = None) -> Plan:
    """Check every picture and the base model, and choose the held-out pairs.

    describe: chooses them in another way.

    Raises:
        DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
    """
    own = base_model.family(config.model.path, revision=config.model.revision)
    base_model.require_known_targets(config.lora.target_modules, own)
    profiles.require(config)
    _own_prompts(config)
    initial_lora = _initial_lora(config)
    adaptable.require_training_adapter(config.model)
    digest = Digests(dataset.digests_path(config))
    headers = Headers(dataset.headers_path(config))
    thumbprint = Thumbprints(dataset.thumbprints_path(config))
    pairs = dataset.scan(config, Inspection(headers, digest, thumbprint, spoken(say, "pictures looked at")), say)
    described = (describe or _describe)(config, pairs, digest, thumbprint, say)
    held_out_ones = len(described.held_out) + len(described.set_apart)
    profiles.require_pictures(config, described.num_images - described.num_regularization - held_out_ones)
    require_suitable(config)
    suitability.require_few_sources(pairs, own)
    if multiple := base_model.size_multiple(config.model):
        buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)

    def fill(run: RunDir, config: Config) -> None:
        dataset.inventory(pairs, digest, dataset.folder_of(config)).write(run.dataset)
        references.copy_prompts(run, config)
        if multiple and own:
            references.publish_missing(run, config, multiple, lambda: pairs, own.source_sizes(config.data, multiple))
        with writing("data.cache_dir", dataset.cache_dir(config)):
            digest.save()
            headers.save()
            thumbprint.save()

    settings = config.model
    identity = base_model.identify(settings.path, revision=settings.revision, variant=settings.variant, digest=digest)
    identity = {**identity, **external_vae.identify(settings), **drawing_model.identify(config)}
    exports = WHOLE_EXPORTS if trained_whole.is_whole(config) else EXPORTS
    return Plan(described, fill, identity, _folders(config, digest), initial_lora, exports)


def require_suitable(config: Config) -> None:
    """Check that the base model and the settings suit one another.

    Raises:
        ModelError, ConfigError: they do not; the message names every setting.
    """
    trained_whole.require(config)
    base_model.require_same_description(config.model)
    family = base_model.family(config.model.path, revision=config.model.revision)
    suitability.require(config, family)
    if trained_whole.is_whole(config):
        base_model.require_denoiser(config.model)
        return
    linear, names = base_model.has_linear_projections(config.model) is not False, config.lora.target_modules
    targets.require_matrices(
        family.targets(names, linear_projections=linear) if family else names,
        config.train.optimizer,
        linear_projections=linear,
        use_dora=config.lora.use_dora,
    )


def require_same_data(run: RunDir, config: Config) -> None:
    """Check that the pictures and captions are those that the run was created with.

    Raises:
        DataError: some differ; the message names each.
    """
    digest = Digests(dataset.digests_path(config))
    relocation.scan_again(run, config, digest)
    relocation.remember(digest)


def identify(run: RunDir) -> dict[str, str]:
    """The recorded base model, plus the commits of hub ids that could not be reached when the run was created."""
    identity, settings = dict(run.read_record().base_model), run.read_config().model
    if not identity.keys() & {"fingerprint", "commit"} and (
        commit := base_model.resolve_commit(settings.path, settings.revision)
    ):
        identity["commit"] = commit
    if not identity.keys() & {"vae_fingerprint", "vae_commit"}:
        identity |= external_vae.identify(settings)
    if "evaluation_commit" not in identity:
        identity |= drawing_model.identify(run.read_config())
    return identity


def estimate_memory(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    """The memory estimate for `run.json`, and sentences about it for the user."""
    estimates = precheck.examine(config, with_evaluator=with_evaluator)
    return precheck.record(estimates), precheck.sentences(estimates, config.model.path)


def warnings(run: RunDir, config: Config) -> list[str]:
    """Pictures too small for the model, or alike on both sides of the split; changed prompts; missing models."""
    notices = (
        base_model.family_or_guess(config.model).caution(
            config.model.path, config.evaluation, config.model.training_adapter
        ),
        precheck.resolution_notice(config),
        _straddling_notice(run, config),
        _prompts_notice(run, config),
        suitability.negative_prompts_notice(
            references.own_prompts(run, config), base_model.family_or_guess(config.model)
        ),
        _segmenter_notice(config),
        profiles.notice(config),
        _judge_notice(config),
    )
    return [notice for notice in notices if notice]


def describe_data(config: Config) -> list[str]:
    """Another model that draws, and the length of the captions in tokens. Nothing of captions if the data set cannot be
    read: the next reader raises the error."""
    try:
        captions = [pair.caption for pair in dataset.scan(config)]
    except DataError:
        return drawing_model.sentences(config)
    return [*drawing_model.sentences(config), tokens.sentence(captions, config.model, config.data.max_token_length)]


def result_bytes(config: Config) -> ResultBytes:
    """Pictures are counted with the usual PNG size of photographs."""
    evaluation = config.evaluation
    picture = config.data.resolution**2 * PNG_BYTES_PER_PIXEL
    held_out_prompts = min(evaluation.num_prompts, config.data.num_validation)
    further = min(evaluation.confirm_prompts, config.data.num_validation - held_out_prompts)
    prompts = held_out_prompts
    with contextlib.suppress(ConfigError):  # the run has a copy
        prompts += len(_own_prompts(config))
    again = prompts + further if evaluation.confirm_prompts else 0
    snapshot = prompts * evaluation.num_seeds * picture
    return ResultBytes(
        per_snapshot=snapshot,
        at_the_end=(1 + evaluation.finalists) * again * evaluation.confirm_seeds * picture
        + len(evaluation.strengths) * snapshot,
    )


def _own_prompts(config: Config) -> tuple[OwnPrompt, ...]:
    """Those of the file of `evaluation.prompts`, as a new run gets them.

    Raises:
        ConfigError: it cannot be read, or lines of it are wrong.
    """
    if config.evaluation.prompts is None:
        return ()
    multiple = base_model.size_multiple(config.model) or prompt_file.SIZE_MULTIPLE
    suits = suitability.own_prompts(base_model.family(config.model.path, revision=config.model.revision))
    return prompt_file.read(Path(config.evaluation.prompts), config.data.trigger_word, multiple, suits)


def _prompts_notice(run: RunDir, config: Config) -> str | None:
    """That the file of prompts is no longer what the run has."""
    file = Path(config.evaluation.prompts) if config.evaluation.prompts else None
    if file is None or not file.is_file() or not run.prompts.is_file() or file.read_bytes() == run.prompts.read_bytes():
        return None
    return (
        f"{file} has changed since the run was made: its snapshots are evaluated by the run's copy, {run.prompts}, so "
        "that they can be compared. Start a new run (--new) for the changed prompts"
    )


def _describe(
    config: Config, pairs: Sequence[Pair], digest: Digests, thumbprint: Thumbprints, say: Say
) -> DatasetRecord:
    if not pairs:
        raise DataError(
            f"data.path is {NO_PICTURES}: there is nothing to train on",
            f"name a folder of captioned pictures; ./{NO_PICTURES} is a folder of that name",
        )
    seed = config.train.seed
    validation_ids = config.data.validation_ids
    if copied := dataset.copies(pairs, digest):
        say(f"{copied}: {held_out.OF_COPIES}" if config.data.num_validation else copied)
    distinct = dataset.one_of_each(pairs, digest, validation_ids)
    together = groups.groups(distinct, config.data.group_key, thumbprint, digest)
    candidates = groups.one_of_each(distinct, together, validation_ids)
    held_out_ids = held_out.choose(candidates, config.data.num_validation, seed, validation_ids)
    for notice in groups.notices(held_out_ids, together):
        say(notice)
    apart = groups.set_apart(held_out_ids, together)
    kept_away = [*held_out_ids, *apart]
    training = dataset.training_pairs(pairs, kept_away, config.data.train_size, seed, digest)
    return DatasetRecord(
        path=config.data.path,
        num_images=len(pairs),
        num_regularization=sum(pair.is_regularization for pair in pairs),
        fingerprint=dataset.fingerprint(pairs, digest),
        pass_length=epochs.pass_length(training, dataset.regularization_pairs(pairs, kept_away, digest)),
        held_out=tuple(held_out_ids),
        set_apart=tuple(apart),
    )


def _segmenter_notice(config: Config) -> str | None:
    """That the model of evaluation.segmenter is not on this machine: colour has no value then."""
    source = config.evaluation.segmenter
    if not source or Path(source).expanduser().is_dir():
        return None
    try:
        if files.is_at_hand(source, ask_hub=False):
            return None
        planned = f"{memory.SEGMENTER_BYTES / memory.GIB:.1f} GiB of memory are planned for it"
        how = f"the evaluator tries to download it ({planned}). Without it colour has no value: hf download {source}"
    except ModelError:
        how = "colour has no value. Give the folder of a model, a hub id owner/name, or none in evaluation.segmenter"
    return f"the model of evaluation.segmenter, {source}, is not on this machine: {how}"


def _judge_notice(config: Config) -> str | None:
    """That the model of evaluation.judge is not on this machine: its column has no value then."""
    source = config.evaluation.judge
    if not source or Path(source).expanduser().is_dir():
        return None
    try:
        if files.is_at_hand(source, ask_hub=False):
            return None
        how = f"the evaluator tries to download it; without it nothing is judged: hf download {source}"
    except ModelError:
        how = "nothing is judged. Give the folder of a model, a hub id owner/name, or none in evaluation.judge"
    return f"the model of evaluation.judge, {source}, is not on this machine: {how}"


def _straddling_notice(run: RunDir, config: Config) -> str | None:
    """None also if the data set cannot be read: the next reader raises the error."""
    record = run.read_record().dataset
    digest, thumbprint = Digests(dataset.digests_path(config)), Thumbprints(dataset.thumbprints_path(config))
    try:
        pairs = relocation.scan_again(run, config, digest)
        training = dataset.training_pairs(pairs, record.kept_away, config.data.train_size, config.train.seed, digest)
        away = [pair for pair in pairs if pair.id in set(record.held_out)]
        thumbprint.look_at(pair.image for pair in (*away, *training))
        found = groups.straddling(away, training, thumbprint)
    except DataError:
        return None
    with contextlib.suppress(OSError):
        thumbprint.save()
    return groups.warning_of(found) if found else None


def _folders(config: Config, digest: Digests) -> dict[str, str]:
    """Fingerprints of what settings name on this disk, other than data set and base model."""
    folders = {key: base_model.local_folder(config.value(key)) for key in FOLDER_KEYS}
    fingerprints = {key: base_model.folder_fingerprint(folder) for key, folder in folders.items() if folder}
    files = {key: Path(config.value(key) or "") for key in (drawing_model.KEY, TRAINING_ADAPTER, DENOISER)}
    return fingerprints | {key: digest(file) for key, file in files.items() if file.is_file()}


def _initial_lora(config: Config) -> InitialLora | None:
    """The file of `lora.init_from`, after a check that it suits these settings."""
    if not config.lora.init_from:
        return None
    file = lora_file.read(Path(config.lora.init_from))
    lora_file.check(file, config.lora, base_model.family(config.model.path, config.model.revision))
    return file.record()
