"""`python -m pocket.pretrain STAGE`: trains the pocket models from scratch and publishes them.

`clip` makes the CLIP and with it the text tower, `crisp` the crisp VAE. From these the UNet is trained by the house:

```
python -m pocket.training.unet data/pocket/pictures
python run.py train pocket/unet.toml
```

`unet RUN` makes the Stable Diffusion with the denoiser of that run, with `--embed` in place of the embedded one, and
then `REPORT.md`; `transformer` makes the flow base's transformer and `FLOW.md`. Both embed only what the CLIP can name.
`vae` and then `decoder` make the VAE of 8 channels.

Every training resumes where it was interrupted (its state lies in `pocket/.work/`, which git ignores) and is skipped
once complete. The published folders are replaced whole.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from diffusers import AutoencoderKL
from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from pocket import CLIP, SMALL_VAE, STABLE_DIFFUSION, Z_IMAGE, tokenizer
from pocket.lessons.pictures import save_grid
from pocket.pipeline import of_run, publish_clip, publish_stable_diffusion, publish_vae, publish_z_image
from pocket.reports.flow_report import write_flow_report
from pocket.reports.gate import Gate, draw, prompted
from pocket.reports.report import generate, write_report
from pocket.reports.round_trips import write_round_trips
from pocket.training import clip, crisp_vae, decoder, transformer, vae
from pocket.training.learning import Schedule
from shared.run_folder.run_dir import RunDir, open_run

Stage = Literal["clip", "crisp", "unet", "transformer", "vae", "decoder"]
FOLDER = Path(__file__).parent
WORK = FOLDER / ".work"
SCHEDULES = {
    "vae": Schedule(num_steps=1500, learning_rate=1.5e-3, beta2=0.95, save_steps=100),
    "clip": Schedule(num_steps=1800, learning_rate=1e-3, decay_share=0.6, save_steps=100),
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
    stage: Annotated[Stage, typer.Argument(help="What to make.")],
    run: Annotated[Path | None, typer.Argument(help="For `unet`: the run folder of `pocket/unet.toml`.")] = None,
    num_steps: Annotated[int | None, typer.Option(help="Another length for the stage's schedule.")] = None,
    embed: Annotated[bool, typer.Option(help="For `unet`: replace the embedded model, if the CLIP agrees.")] = False,
) -> None:
    """Trains what is not trained yet, publishes it, and measures it."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if stage == "unet":
        if run is None:
            raise typer.BadParameter("name the run folder that `python run.py train pocket/unet.toml` has made")
        publish_unet(open_run(run), embed=embed)
        return
    schedule = SCHEDULES[stage] if num_steps is None else replace(SCHEDULES[stage], num_steps=num_steps)
    if stage == "clip":
        text_tokenizer = tokenizer.train()
        publish_clip(clip.train(WORK, schedule, text_tokenizer)[0].eval(), text_tokenizer, CLIP)
    elif stage == "crisp":
        train_crisp(schedule)
    elif stage == "transformer":
        train_transformer(schedule)
    else:
        train_vae(stage, schedule)


def publish_unet(run: RunDir, *, embed: bool) -> None:
    """Writes the Stable Diffusion that draws with a run's denoiser: to `WORK`, or in place of the embedded one.

    Runs that began on the embedded one cannot be resumed on another, so it is not replaced by the way.
    """
    pipeline = of_run(run)
    judge = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    garments = prompted()
    drawn = generate(pipeline, garments, first_seed=0)
    WORK.mkdir(exist_ok=True)
    save_grid(drawn[:32].split(8), WORK / "unet.png")
    gate = Gate.measure(drawn, garments, judge, pipeline.tokenizer)
    embed = embed and gate.passed
    publish_stable_diffusion(pipeline, STABLE_DIFFUSION if embed else WORK / "stable-diffusion")
    if embed:
        write_report(run, WORK, FOLDER)
    Console().print(gate.text)


def train_vae(stage: Stage, schedule: Schedule) -> None:
    """The older VAE; with `decoder` its decoder learns on."""
    autoencoder = vae.train(WORK, schedule if stage == "vae" else SCHEDULES["vae"])[0].eval()
    if stage == "decoder":
        decoder.train(WORK, schedule, autoencoder)
    publish_vae(autoencoder, SMALL_VAE)


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


if __name__ == "__main__":
    app()
