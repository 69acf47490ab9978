"""What noise a base model was trained with: what it predicts, and whether its last timestep is pure noise.

This is the one place that says so. A loaded model's objective holds the answer for its run; the trainer, the evaluator
and the header of every LoRA file ask it. What cannot be trained is refused here, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from shared.errors import ModelError
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.weights_header import Tensors, read_header, read_metadata

PredictionType = Literal["epsilon", "v_prediction"]

SCHEDULERS = frozenset(
    f"{name}Scheduler"
    for name in (
        "DDIM",
        "DDIMParallel",
        "DDPM",
        "DDPMParallel",
        "DEISMultistep",
        "DPMSolverMultistep",
        "DPMSolverSDE",
        "DPMSolverSinglestep",
        "EulerAncestralDiscrete",
        "EulerDiscrete",
        "HeunDiscrete",
        "KDPM2AncestralDiscrete",
        "KDPM2Discrete",
        "LCM",
        "LMSDiscrete",
        "PNDM",
        "SASolver",
        "TCD",
        "UniPCMultistep",
    )
)
"""Schedulers of diffusers that sample a model trained on DDPM's betas; they describe one noise schedule in one way."""
BETA_SCHEDULES = frozenset({"linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"})
"""Those `DDPMScheduler` knows."""
PREDICTIONS: dict[str, PredictionType] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
    "v_pred": "v_prediction",
    "stable-diffusion-v2-512": "epsilon",
    "stable-diffusion-v2-768-v": "v_prediction",
}
PREDICTION_KEYS = ("modelspec.prediction_type", "modelspec.predict_key")
"""Where the header of a single file says what it predicts: sd-scripts writes the first, ComfyUI the second."""
ARCHITECTURE_KEY = "modelspec.architecture"
V_MARKER, ZERO_SNR_MARKER, EDM_MARKER = "v_pred", "ztsnr", "edm_"
"""Names of empty tensors that ComfyUI and A1111 read; EDM's hold values (`edm_mean`, `edm_vpred.sigma_max`)."""
CURE = "choose a model that predicts noise or v on DDPM's timesteps"


@dataclass(frozen=True)
class NoiseSchedule:
    """What the denoiser predicts, and how its timesteps end."""

    prediction_type: PredictionType
    zero_terminal_snr: bool = False
    """The last timestep is pure noise (Lin et al. 2024): betas are rescaled, and sampling begins at that timestep."""

    @classmethod
    def of(cls, prediction_type: PredictionType, zero_terminal_snr: bool) -> NoiseSchedule:
        """Only models that predict v end in pure noise: to name noise where nothing else is teaches nothing."""
        return cls(prediction_type, zero_terminal_snr and prediction_type == "v_prediction")

    def ending_in_pure_noise(self) -> NoiseSchedule:
        """As `train.zero_terminal_snr` wants it.

        Raises:
            ModelError: the model would predict noise there.
        """
        if self.prediction_type != "v_prediction":
            raise ModelError(
                f"train.zero_terminal_snr is set, but the model predicts {self.prediction_type!r}: "
                "the last timestep is pure noise, and naming it teaches nothing about pictures (Lin et al. 2024)",
                "set train.zero_terminal_snr = false to train it as it is",
            )
        return replace(self, zero_terminal_snr=True)

    def __str__(self) -> str:
        predicted = "predicts v" if self.prediction_type == "v_prediction" else "predicts noise"
        return f"{predicted}, zero terminal SNR" if self.zero_terminal_snr else predicted


@dataclass(frozen=True)
class Statement:
    """What a model's own files say; None and False: nothing."""

    prediction_type: PredictionType | None = None
    zero_terminal_snr: bool = False
    notices: tuple[str, ...] = ()
    """What in them contradicts itself, in sentences."""


def of_scheduler(config: Mapping[str, Any], model: str, name: str | None = None) -> Statement:
    """What a scheduler's configuration says. name: its class, where the pipeline names another than `config`.

    Raises:
        ModelError: the model learnt another kind of noise schedule; says which.
    """
    name = name or str(config.get("_class_name"))
    if name not in SCHEDULERS:
        raise ModelError(f"{model} has the noise schedule of {name}, which cannot be trained", CURE)
    if config.get("use_flow_sigmas") or config.get("timestep_type") == "continuous":
        setting = "use_flow_sigmas" if config.get("use_flow_sigmas") else "continuous timesteps"
        raise ModelError(f"{model} has a {name} with {setting}, which cannot be trained", CURE)
    betas = config.get("beta_schedule", "linear")
    if betas not in BETA_SCHEDULES and config.get("trained_betas") is None:
        raise ModelError(f"{model} has a {name} with beta_schedule {betas!r}, which cannot be trained", CURE)
    predicted = config.get("prediction_type", "epsilon")
    if predicted not in get_args(PredictionType):
        raise ModelError(f"{model} predicts {predicted!r}, which cannot be trained", CURE)
    return Statement(cast("PredictionType", predicted), bool(config.get("rescale_betas_zero_snr")))


def of_folder(folder: Path) -> Statement:
    """What a pipeline's folder says in its scheduler.

    Raises:
        ModelError: as `of_scheduler`.
    """
    config = folder / "scheduler" / "scheduler_config.json"
    if not config.is_file():
        return Statement()
    _, name = read_json(folder / "model_index.json").get("scheduler") or (None, None)
    return of_scheduler(read_json(config), str(folder), name)


def of_file(path: Path, tensors: Tensors | None = None) -> Statement:
    """What a single file says by the tensors ComfyUI reads (`v_pred`, `ztsnr`), or else by its header's metadata.

    Raises:
        ModelError: it is an EDM model or predicts something else; or no whole safetensors file.
    """
    tensors = read_header(path) if tensors is None else tensors
    _refuse_edm(tensors, str(path))
    predictions: dict[str, PredictionType] = {f"its tensor {V_MARKER}": "v_prediction"} if V_MARKER in tensors else {}
    predictions |= _predictions(read_metadata(path), str(path))
    first = next(iter(predictions.values()), None)
    notices = () if len(set(predictions.values())) < 2 else (_contradiction(path, predictions),)
    return Statement(first, ZERO_SNR_MARKER in tensors, notices)


def _predictions(metadata: Mapping[str, str], model: str) -> dict[str, PredictionType]:
    """What a header says that the model predicts, by the key that says it; the first counts most."""
    predictions: dict[str, PredictionType] = {}
    for key in PREDICTION_KEYS:
        word = metadata.get(key, "").strip()
        known = PREDICTIONS.get(word.lower().replace("-", "_"))
        if known:
            predictions[key] = known
        elif word:
            raise ModelError(f"{model} predicts {word!r} ({key} of its header), which cannot be trained", CURE)
    if known := PREDICTIONS.get(metadata.get(ARCHITECTURE_KEY, "").lower()):
        predictions[ARCHITECTURE_KEY] = known
    return predictions


def _contradiction(path: Path, predictions: Mapping[str, PredictionType]) -> str:
    words = ", ".join(f"{predicted} by {source}" for source, predicted in predictions.items())
    return f"{path.name} says of what it predicts: {words}; the first counts, and model.prediction_type overrules it"


def _refuse_edm(tensors: Iterable[str], model: str) -> None:
    """Raises ModelError where a single file's tensors mark it as an EDM model (Playground v2.5, CosXL)."""
    if marker := next((name for name in sorted(tensors) if name.startswith(EDM_MARKER)), None):
        raise ModelError(f"{model} is an EDM model (it holds {marker}), which cannot be trained", CURE)
