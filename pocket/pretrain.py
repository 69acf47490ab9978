"""`python -m pocket.pretrain [vae|clip|unet|decoder|report]`: trains the pocket models from scratch and publishes them.

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

from pocket import CLIP, STABLE_DIFFUSION, clip, decoder, tokenizer, unet, vae
from pocket.learning import Schedule
from pocket.pipeline import assemble, publish_clip, publish_stable_diffusion
from pocket.report import write_report

Stage = Literal["vae", "clip", "unet", "decoder", "report"]
FOLDER = Path(__file__).parent
WORK = FOLDER / ".work"
SCHEDULES = {
    "vae": Schedule(num_steps=1500, learning_rate=1.5e-3, beta2=0.95, save_steps=100),
    "clip": Schedule(num_steps=1800, learning_rate=1e-3, decay_share=0.6, save_steps=100),
    "unet": Schedule(num_steps=4500, learning_rate=1e-3, ema_decay=0.997),
    "decoder": Schedule(num_steps=2400, learning_rate=7e-4, decay_share=0.8, beta2=0.95),
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
    encoded = unet.encode_pictures(WORK, autoencoder, *unet.encode_captions(model.text_model, text_tokenizer))

    def publish(denoiser: UNet2DConditionModel) -> None:
        publish_stable_diffusion(assemble(autoencoder, model.text_model, text_tokenizer, denoiser), STABLE_DIFFUSION)

    denoiser = unet.train(WORK, schedules["unet"], encoded, publish)[0]
    if last == "unet":
        return
    decoder.train(WORK, schedules["decoder"], autoencoder)
    publish(denoiser)


if __name__ == "__main__":
    app()
