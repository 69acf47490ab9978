"""Loads what the evaluation of a run needs: base model, references, encoders."""

from __future__ import annotations

import torch

from shared.config.schema import Config, EvaluationConfig
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation import references
from tasks.text_to_image.evaluation.image_generator import ImageGenerator
from tasks.text_to_image.evaluation.learnt_denoiser import LearntDenoiser
from tasks.text_to_image.evaluation.learnt_lora import LearntLora
from tasks.text_to_image.evaluation.picture_evaluation import PictureEvaluation
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.metrics import metrics_of
from tasks.text_to_image.models import base_model, drawing_model, trained_whole
from tasks.text_to_image.places import require_present


def build(run: RunDir, config: Config, device: torch.device) -> PictureEvaluation:
    """Load everything that evaluations of this run need.

    Raises:
        ModelError, DataError, ConfigError, RunFolderError: base model, references or settings cannot be used.
    """
    require_present(run, config, to_train=False)
    record, settings = run.read_record(), config.evaluation
    precision = _precision(settings, device, base_model.family_or_guess(drawing_model.settings(config)))
    model = loading.load_model(
        drawing_model.pinned(config, record.base_model),
        precision,
        denoiser=loading.OwnDenoiser(precision, config.train.seed) if config.train.what == "scratch" else None,
        zero_terminal_snr=config.train.zero_terminal_snr and settings.model is None,
        max_token_length=config.data.max_token_length,
    )
    model.sample_with(settings.scheduler)
    whole = trained_whole.is_whole(config)
    adapter = None if record.imported or whole else config.lora
    image_generator = ImageGenerator(model, adapter, settings, config.data.resolution)
    if settings.turns:
        image_generator.rest_until_asked(device)
    else:
        image_generator.move_to(device)
    return PictureEvaluation(
        run,
        config,
        references.load(
            run,
            config,
            model.size_multiple,
            source_sizes=model.family.source_sizes(config.data, model.size_multiple),
        ),
        image_generator,
        LearntDenoiser(run, model) if whole else LearntLora(run, config, image_generator),
        load_scorer(
            settings.fashion_clip,
            settings.visual,
            str(device),
            segmenter=settings.segmenter,
            segmenter_labels=settings.segmenter_labels,
            judge=settings.judge,
            judge_questions=settings.judge_questions,
            glyphs=settings.glyphs,
            metrics=metrics_of(config),
            face=settings.face,
        ),
        TrainingSet(run, config),
    )


def _precision(settings: EvaluationConfig, device: torch.device, family: Family) -> loading.Precision:
    if settings.dtype != "auto":
        return settings.dtype
    if device.type == "cpu":
        return "fp32"
    return "bf16" if family.overflows_in_fp16 else "fp16"
