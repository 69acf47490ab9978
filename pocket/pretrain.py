"""`python -m pocket.pretrain [vae|clip|unet|report]`: trains the pocket models from scratch and publishes them.

Every stage resumes where it was interrupted (its state lies in `pocket/.work/`, which git ignores) and is skipped once
complete. The published folders are replaced whole; the UNet's are replaced at every save, so that an early one can be
tried.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from diffusers import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from transformers.utils import logging as transformers_logging

from pocket import CLIP, STABLE_DIFFUSION, clip, tokenizer, unet, vae
from pocket.learning import Schedule
from pocket.pipeline import assemble, publish_clip, publish_stable_diffusion
from pocket.report import write_report

Stage = Literal["vae", "clip", "unet", "report"]
FOLDER = Path(__file__).parent
WORK = FOLDER / ".work"
SCHEDULES = {
    "vae": Schedule(num_steps=2200, learning_rate=1.5e-3, beta2=0.95, save_steps=100),
    "clip": Schedule(num_steps=1500, learning_rate=1e-3, num_warmup_steps=150, decay_share=0.6),
    "unet": Schedule(num_steps=7000, learning_rate=1e-3, ema_decay=0.998),
}

app = typer.Typer(add_completion=False)


@app.command()
def main(
    stage: Annotated[Stage, typer.Argument(help="How far to go; every stage needs the ones before it.")] = "report",
    num_steps: Annotated[int | None, typer.Option(help="Another length for the named stage's schedule.")] = None,
) -> None:
    """Trains what is not trained yet, publishes it, and writes the report."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    schedules = dict(SCHEDULES)
    if num_steps is not None:
        schedules[stage] = replace(SCHEDULES[stage], num_steps=num_steps)
    if stage != "report" or not (WORK / "unet").exists():
        train_models(schedules, last=stage)
    if stage == "report":
        Console().print(write_report(WORK, FOLDER))


def train_models(schedules: dict[str, Schedule], last: Stage) -> None:
    """Trains the models in order until `last`; complete ones are only loaded."""
    text_tokenizer = tokenizer.train()
    autoencoder = vae.train(WORK, schedules["vae"])[0].eval()
    if last == "vae":
        return
    model = clip.train(WORK, schedules["clip"], text_tokenizer)[0].eval()
    publish_clip(model, text_tokenizer, CLIP)
    if last == "clip":
        return
    text_encoder = model.text_model
    encoded = unet.encode_pictures(WORK, autoencoder, *unet.encode_captions(text_encoder, text_tokenizer))

    def publish(denoiser: UNet2DConditionModel) -> None:
        publish_stable_diffusion(assemble(autoencoder, text_encoder, text_tokenizer, denoiser), STABLE_DIFFUSION)

    unet.train(WORK, schedules["unet"], encoded, publish)


if __name__ == "__main__":
    app()
