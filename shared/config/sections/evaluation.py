"""`[evaluation]`: how snapshots are evaluated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section


def _distinct(strengths: tuple[float, ...]) -> tuple[float, ...]:
    """Ascending, each once, in hundredths; 1 is drawn anyway."""
    return tuple(sorted({round(strength, 2) for strength in strengths} - {1.0}))


def _none_or_several(count: int) -> int:
    if count == 1:
        raise ValueError("must be 0, or at least 2: one prompt says nothing about others")
    return count


class EvaluationConfig(Section):
    """What every snapshot is asked to draw, and how it is evaluated."""

    profile: Annotated[Literal["garment", "person", "character", "style", "object"], Rule.RESULTS] = Field(
        default="garment", description="What kind of subject is learnt: which metrics judge it, and their weights."
    )
    weights: Annotated[dict[str, Annotated[float, Field(ge=0)]], Rule.UPKEEP] = Field(
        default_factory=dict,
        description="Weights of metrics in the composite, `{metric = 1.0, …}`, in place of the profile's; 0 "
        "leaves one out.",
    )
    num_prompts: Annotated[int, Rule.RESULTS] = Field(
        default=16, ge=2, description="Held-out captions drawn for every snapshot, if pairs are held out."
    )
    prompts: Annotated[str | None, Rule.RESULTS] = Field(
        default=None,
        min_length=1,
        description="Text file of prompts of your own, one in each line, drawn for every snapshot beside or instead of "
        "held-out captions; a relative path is meant from the config's folder. A run keeps a copy.",
    )
    probes: Annotated[int, Rule.RESULTS, AfterValidator(_none_or_several)] = Field(
        default=0,
        ge=0,
        le=8,
        description="Unrelated prompts, and as many of `data.class_word` without the trigger word, one picture of each "
        "for every snapshot: how far these have moved from the base model's is what the LoRA costs. They do not count "
        "in the composite. 0: none.",
    )
    num_seeds: Annotated[int, Rule.RESULTS] = Field(default=2, ge=1, description="Pictures per prompt.")
    model: Annotated[str | None, Rule.RESULTS] = Field(
        default=None,
        min_length=1,
        description="Another base model to draw with than the one that learns, such as a distilled one that the LoRA "
        "will be used on: a diffusers folder, a hub id (`owner/name` or `owner/name@revision`) or a .safetensors file "
        "of the same family and shapes. Step 0 is then this model; the held-out loss stays with the one that learns.",
    )
    scheduler: Annotated[
        Literal[
            "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "DDIMScheduler", "own"
        ],
        Rule.RESULTS,
    ] = Field(
        default="DPMSolverMultistepScheduler",
        description="Sampler, as diffusers names it (the default is DPM-Solver++ 2M); `own` is the base model's.",
    )
    num_inference_steps: Annotated[int, Rule.RESULTS] = Field(
        default=20, ge=1, description="Denoising steps per picture."
    )
    guidance_scale: Annotated[float, Rule.RESULTS] = Field(default=7.0, ge=1, description="Classifier-free guidance.")
    batch_size: Annotated[int, Rule.RESULTS] = Field(
        default=8, ge=1, description="Pictures denoised at once; part of what makes pictures reproducible."
    )
    seed: Annotated[int, Rule.RESULTS] = Field(
        default=1234, ge=0, lt=2**31, description="First evaluation seed; the others follow it."
    )
    order: Annotated[Literal["newest", "oldest"], Rule.UPKEEP] = Field(
        default="newest", description="Which snapshot is evaluated first where several wait."
    )
    every: Annotated[int, Rule.UPKEEP] = Field(
        default=1,
        ge=1,
        description="Evaluate every so many snapshots, and the last; the others are recorded as skipped.",
    )
    finalists: Annotated[int, Rule.UPKEEP] = Field(
        default=3, ge=1, le=10, description="Snapshots that are evaluated again at the end, with the base model."
    )
    confirm_prompts: Annotated[int, Rule.RESULTS] = Field(
        default=16,
        ge=0,
        description="At the end the best snapshots are evaluated again: on the same captions, and on up to so "
        "many further held-out ones, as far as there are; 0: they are not.",
    )
    confirm_seeds: Annotated[int, Rule.RESULTS] = Field(
        default=4, ge=1, description="New pictures per prompt when the best are evaluated again."
    )
    averages: Annotated[int, Rule.UPKEEP] = Field(
        default=1,
        ge=0,
        le=8,
        description="Averages of neighbouring snapshots that are evaluated when training is over, each as a snapshot "
        "is, and may win: the best with one neighbour on each side, then with two, and so on. 0: none.",
    )
    strengths: Annotated[tuple[Annotated[float, Field(ge=0.05, le=2)], ...], AfterValidator(_distinct), Rule.UPKEEP] = (
        Field(
            default=(0.4, 0.6, 0.8, 1.2),
            max_length=8,
            description="Strengths of the LoRA at which the snapshot to ship is drawn at the end, beside 1, with the "
            "same prompts and seeds; each costs as many pictures as one snapshot. Empty: none.",
        )
    )
    torch_compile: Annotated[bool, Rule.RESULTS] = Field(
        default=False,
        description="Compile the denoiser once for all snapshots; pays off after some hundred pictures of few shapes. "
        "Not with DoRA or adapters of the text encoders, which cannot be swapped in place.",
    )
    dtype: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Rule.RESULTS] = Field(
        default="auto",
        description="Precision of generation; `auto` is fp16 on CUDA and MPS, bf16 for models that overflow in "
        "fp16, fp32 on CPU.",
    )
    device: Annotated[str, Rule.RESULTS] = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` is a GPU that training leaves free, else the one it uses.",
    )
    turns: Annotated[bool, Rule.UPKEEP] = Field(
        default=False,
        description="For a GPU that cannot hold trainer and evaluator together: while a snapshot is drawn, training "
        "pauses and the trainer's model waits in the machine's memory. The snapshots stay the same.",
    )
    blocks_to_swap: Annotated[int, Rule.UPKEEP] = Field(
        default=0,
        ge=0,
        description="How many of the denoiser's blocks wait in the machine's memory during evaluation and come to the "
        "GPU one by one to compute: less GPU memory, the same pictures. For transformers only; not with DoRA or "
        "evaluation.torch_compile.",
    )
    visual: Annotated[str, Rule.RESULTS] = Field(
        default="efficientnet-lite0",
        description="Perceptual encoder: a folder or hub id of DINOv2 or SigLIP 2, `dreamsim`, `efficientnet-lite0` "
        "(comes with Darkroom), or `gradients` (no weights).",
    )
    fashion_clip: Annotated[str, Rule.RESULTS] = Field(
        default="patrickjohncyh/fashion-clip",
        description="Folder or hub id of a CLIP or SigLIP, or `pocket` for the embedded miniature CLIP.",
    )
    face: Annotated[Literal["dlib", "none"], Rule.RESULTS] = Field(
        default="dlib",
        description="Face encoder of the profile `person`, which comes with `pip install 'darkroom[faces]'`; `none`: a "
        "person is judged by the likeness of whole pictures.",
    )
    segmenter: Annotated[str | None, Rule.RESULTS] = Field(
        default=None,
        min_length=1,
        description="Folder or hub id of a semantic segmentation model that finds the garment whose colours count, "
        "such as a SegFormer for clothes; when absent, the garment is what differs from a plain wall.",
    )
    segmenter_labels: Annotated[tuple[str, ...], Rule.RESULTS] = Field(
        default=(),
        description="The segmenter's labels that are your subject; empty: those with a word for a garment, such as "
        "`Upper-clothes` or `dress`.",
    )
    judge: Annotated[str | None, Rule.RESULTS] = Field(
        default=None,
        min_length=1,
        description="Folder or hub id of a vision-language model that answers a checklist about every picture. It "
        "counts once people's votes agree with it; when absent, there is none.",
    )
    judge_questions: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Rule.RESULTS] = Field(
        default=(),
        description="Its checklist, questions whose good answer is yes; empty: six on subject, parts, colours, logos, "
        "hands and artefacts.",
    )
    glyphs: Annotated[str | None, Rule.RESULTS] = Field(
        default=None,
        min_length=1,
        description="Folder of the characters that drawn glyphs are compared with, as `examples/kanji` writes it: "
        "snapshots are then judged by whether a glyph is read as its own character, and by nothing else.",
    )
    prefer: Annotated[Literal["best", "earliest"], Rule.UPKEEP] = Field(
        default="best",
        description="Ship the snapshot with the best smoothed composite, or the earliest that cannot be told from it "
        "and is less than `min_difference` behind.",
    )
    min_difference: Annotated[float, Rule.UPKEEP] = Field(
        default=0.1,
        gt=0,
        description="Difference of the composite from which on it matters, in standard deviations between prompts of "
        "the base model's losses.",
    )
    rescan_seconds: Annotated[float, Rule.UPKEEP] = Field(
        default=5.0, gt=0, description="Seconds between two scans of the snapshot folder; events only hasten it."
    )
