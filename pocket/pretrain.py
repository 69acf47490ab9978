"""`python -m pocket.pretrain [STAGE]`: trains the pocket models from scratch and publishes them.

`vae`, `clip`, `unet`, `decoder` and `report` make the Stable Diffusion and the CLIP, in this order. `crisp` makes the
flow base's VAE; `transformer` makes its transformer from the published VAE, text tower and CLIP, and `FLOW.md`.

Every stage resumes where it was interrupted (its state lies in `pocket/.work/`, which git ignores) and is skipped once
complete. The published folders are replaced whole; the UNet's are replaced at every save, so that an early one can be
tried.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from pocket import CLIP, STABLE_DIFFUSION, Z_IMAGE, tokenizer
from pocket.lessons.pictures import save_grid
from pocket.pipeline import assemble, publish_clip, publish_stable_diffusion, publish_vae, publish_z_image
from pocket.reports.flow_report import write_flow_report
from pocket.reports.gate import Gate, draw, prompted
from pocket.reports.report import write_report
from pocket.reports.round_trips import write_round_trips
from pocket.training import clip, crisp_vae, decoder, transformer, unet, vae
from pocket.training.learning import Schedule

Stage = Literal["vae", "clip", "unet", "decoder", "report", "crisp", "transformer"]
FOLDER = Path(__file__).parent
WORK = FOLDER / ".work"
SCHEDULES = {
    "vae": Schedule(num_steps=1500, learning_rate=1.5e-3, beta2=0.95, save_steps=100),
    "clip": Schedule(num_steps=1800, learning_rate=1e-3, decay_share=0.6, save_steps=100),
    "unet": Schedule(num_steps=4500, learning_rate=1e-3, ema_decay=0.997),
    "decoder": Schedule(num_steps=2400, learning_rate=7e-4, decay_share=0.8, beta2=0.95),
    # the published weights had 4e-4 to step 600, 6e-4 to 1600 and 1e-3 to 1800, set by hand, and this from there
    "crisp": Schedule(
        num_steps=3600, learning_rate=7e-4, num_warmup_steps=600, decay_share=0.6, beta2=0.95, save_steps=200
    ),
    "transformer": Schedule(num_steps=2800, learning_rate=1e-3, matrix_rate=0.02, ema_decay=0.997, save_steps=500),
}
START_SCHEDULE = Schedule(
    num_steps=800, learning_rate=4e-3, num_warmup_steps=40, decay_share=0.5, beta2=0.95, save_steps=100
)
"""Of the chain of convolutions from which the crisp VAE starts."""

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
    if stage == "crisp":
        train_crisp(schedules[stage])
    elif stage == "transformer":
        train_transformer(schedules[stage])
    else:
        train_models(schedules, last=stage)
    if stage == "report":
        Console().print(write_report(WORK, FOLDER))


def train_crisp(schedule: Schedule) -> None:
    """Trains the flow base's VAE, publishes it, and writes what both VAEs' round trips lose."""
    lessons = crisp_vae.Lessons(WORK)
    start = crisp_vae.train_start(WORK, START_SCHEDULE, lessons)[0]
    publish_vae(crisp_vae.train(WORK, schedule, lessons, start)[0], Z_IMAGE / "vae")
    Console().print(write_round_trips(WORK, FOLDER))


def train_transformer(schedule: Schedule) -> None:
    """Trains the flow transformer; it is published once the CLIP names what it draws, until then kept in `WORK`."""
    crisp = AutoencoderKL.from_pretrained(Z_IMAGE / "vae", torch_dtype=torch.float32).eval()
    text_encoder = CLIPTextModel.from_pretrained(STABLE_DIFFUSION / "text_encoder", dtype=torch.float32).eval()
    text_tokenizer = CLIPTokenizer.from_pretrained(STABLE_DIFFUSION / "tokenizer")
    pipeline = transformer.assemble(crisp, text_encoder, text_tokenizer, transformer.build())
    transformer.train(WORK, schedule, pipeline, lambda: publish_z_image(pipeline, WORK / "z-image"))
    judge = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    garments = prompted()
    drawn = draw(pipeline, garments)
    save_grid(drawn[:32].split(8), WORK / "transformer.png")
    gate = Gate.measure(drawn, garments, judge, text_tokenizer)
    publish_z_image(pipeline, Z_IMAGE if gate.passed else WORK / "z-image")
    if gate.passed:
        write_flow_report(pipeline, judge, gate, drawn, WORK, FOLDER)
    Console().print(gate.text)


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
