"""A further family is one file: Z-Image, on flow matching, with nothing of it anywhere but in tests/flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from diffusers import ZImagePipeline

from shared.config.schema import Config, ModelConfig
from shared.errors import ConfigError, ModelError
from shared.files.publication import publish
from shared.machine.hardware import Gpu
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import export
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import base_model, memory, precheck, presets, tokens
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import create_run, tiny_config
from tests.flow import tiny_z_image
from tests.flow.z_image import ZImage
from trainer.learner import Learner

SECTIONS: dict[str, dict[str, object]] = {
    "lora": {"rank": 2, "lora_alpha": 4},
    "train": {"max_train_steps": 3, "learning_rate": 0.05, "lr_warmup_steps": 0, "validation_steps": 3},
    "evaluation": {"scheduler": "own"},
}
JOBS = [Job("a", "a red dress", 1, (32, 32), 0), Job("b", "a long blue coat", 2, (32, 32), 0)]


@pytest.fixture(scope="module", autouse=True)
def family() -> Any:
    """The one line that a family costs beside its file."""
    with pytest.MonkeyPatch.context() as patch:
        found = ZImage()
        patch.setitem(FAMILIES, found.name, found)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("z-image")
    tiny_z_image.build().save_pretrained(target)
    return target


def loaded(folder: Path) -> Model:
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


class Trained:
    """Three steps of the trainer's own learner, and the snapshot of the last."""

    def __init__(self, output: Path, model: Path, pictures: Path) -> None:
        self.run: RunDir = create_run(tiny_config(output, "run", model, pictures, SECTIONS))
        self.config: Config = self.run.read_config()
        accelerator = Accelerator(cpu=True)
        training = prepare(self.run, self.config, accelerator, lambda done, total: None, begins=True)
        learner = Learner(self.config, accelerator, training)
        self.before = learner.validate(lambda done, total: None)
        self.losses = [learner.update().loss for _ in range(3)]
        self.after = learner.validate(lambda done, total: None)
        self.notices = training.notices
        self.live: Any = training
        manifest = Manifest(kind="snapshot", run_id=self.run.read_record().run_id, step=3)
        publish(
            self.run.staging, self.run.snapshot(3), manifest, lambda stage: training.write(stage, learner.weights(), 3)
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, folder: Path, pictures: Path) -> Trained:
    return Trained(tmp_path_factory.mktemp("runs"), folder, pictures)


def drawn(model: Model, config: Config) -> torch.Tensor:
    """(2, 3, 32, 32), as the evaluator's image generator asks for it."""
    with torch.no_grad():
        arguments = model.prompt_arguments([job.prompt for job in JOBS])
    return model.pipeline(
        **arguments,
        **model.family.guidance_arguments(config.evaluation.guidance_scale),
        generator=[torch.Generator().manual_seed(job.seed) for job in JOBS],
        num_inference_steps=2,
        height=32,
        width=32,
        output_type="pt",
        return_dict=False,
    )[0]


def test_its_folder_is_recognised_before_anything_is_loaded(folder: Path, family: ZImage) -> None:
    settings = ModelConfig(path=str(folder))
    assert base_model.family(str(folder)) is family
    assert base_model.identify(str(folder))["fingerprint"]
    assert base_model.size_multiple(settings) == 8
    assert base_model.guess_family("Tongyi-MAI/Z-Image-Turbo") is family
    lengths = tokens.measure(["a red dress"], settings)
    assert lengths
    assert lengths.limit(75) == 512


def test_it_has_a_memory_estimate_and_presets(folder: Path, family: ZImage, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "run", folder, tmp_path, SECTIONS)
    shapes = memory.read_shapes(str(folder))
    assert shapes
    adapted = loaded(folder)
    assert shapes.weights("transformer") == sum(value.numel() for value in adapted.denoiser.parameters())
    needed = memory.trainer_footprint(shapes, config, "fp32", on_gpu=False)
    assert needed.parts["activations"] > 0
    assert precheck.examine(config)
    preset = presets.recommend(family, Gpu(0, "a card", 0.0, 24 * 1024.0, (8, 6)))
    assert preset.name == "z-image on 24 GB"
    assert preset.choices["data.resolution"].value == 1024
    assert preset.choices["evaluation.scheduler"].value == "own"


def test_a_noise_schedule_of_another_kind_is_refused_by_the_family(folder: Path, tmp_path: Path) -> None:
    model = tiny_z_image.build()
    model.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("FlowMatchEulerDiscrete", "EDMEuler"))
    with pytest.raises(ModelError, match="the noise schedule of EDMEulerScheduler"):
        base_model.identify(str(tmp_path / "model"))


def test_one_step_of_its_pipeline_is_one_call_of_the_family(folder: Path) -> None:
    """The time runs the right way, and the sign is the objective's."""
    model, noise = loaded(folder), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        conditioning = model.encode_captions(["a red dress"])
        velocity = model.predict(noise, torch.ones(1), conditioning)
        latents = model.pipeline(
            **model.prompt_arguments(["a red dress"]),
            latents=noise,
            num_inference_steps=1,
            guidance_scale=0,
            height=32,
            width=32,
            output_type="latent",
            return_dict=False,
        )[0]
    objective = model.objective
    assert torch.allclose(noise - velocity, latents, atol=1e-5)
    pure = objective.add_noise(latents, noise, torch.ones(1))
    assert torch.equal(pure, noise)
    assert torch.allclose(pure - objective.target(latents, noise, torch.ones(1)), latents, atol=1e-5)


def test_captions_of_different_lengths_are_a_batch_as_they_are_alone(folder: Path) -> None:
    model, captions = loaded(folder), ["a dress", "a long blue coat with many buttons"]
    with torch.no_grad():
        texts = [{name: value[0] for name, value in model.encode_captions([caption]).items()} for caption in captions]
        together, collated = model.encode_captions(captions), model.collate(texts)
        assert all(torch.equal(together[name], collated[name]) for name in together)
        noisy, sigmas = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.8])
        both = model.predict(noisy, sigmas, together)
        alone = model.predict(noisy[:1], sigmas[:1], model.encode_captions(captions[:1]))
    assert torch.allclose(both[:1], alone, atol=1e-5)


def test_three_steps_learn_and_the_held_out_loss_is_measured(trained: Trained) -> None:
    assert all(loss > 0 for loss in trained.losses)
    assert trained.before
    assert trained.after
    assert trained.before.columns["held_out_loss"] != trained.after.columns["held_out_loss"]


def test_the_evaluator_draws_what_the_trainer_has_learnt(trained: Trained, folder: Path) -> None:
    model, config = loaded(folder), trained.config
    model.sample_with(config.evaluation.scheduler)
    generator = ImageGenerator(model, config.lora, config.evaluation, 32)
    snapshot = snapshot_file.read(trained.run.snapshot(3), generator.expected, config.lora)
    assert {key.partition(".")[0] for key in snapshot.weights} == {"transformer"}
    plain = drawn(model, config)
    generator.swap(snapshot)
    with_adapter = drawn(model, config)
    assert not torch.equal(with_adapter, plain)
    assert torch.equal(with_adapter, drawn(trained.live.model, config)), "the live adapter's picture"
    (pictures,) = generator.draw(JOBS)
    assert len(pictures) == 2
    generator.swap(None)
    assert torch.equal(drawn(model, config), plain)
    assert generator.describe()["prediction_type"] == "flow"


def test_its_export_draws_the_same_picture_in_plain_diffusers(trained: Trained, folder: Path, tmp_path: Path) -> None:
    export.export(export.read(trained.run, 3), "kohya", "fp32", tmp_path / "lora.safetensors")
    plain: Any = ZImagePipeline.from_pretrained(folder)
    plain.set_progress_bar_config(disable=True)
    plain.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    model = loaded(folder)
    model.pipeline = plain
    assert torch.allclose(drawn(model, trained.config), drawn(trained.live.model, trained.config), atol=1e-5)


def test_a_sampler_that_would_take_it_for_another_kind_of_model_is_refused(folder: Path) -> None:
    model = loaded(folder)
    with pytest.raises(ConfigError, match="cannot sample a flow-matching model"):
        model.sample_with("DDIMScheduler")
    model.sample_with("own")
    assert model.pipeline.scheduler.config.shift == 3.0


def test_such_a_sampler_is_refused_before_the_run_is_made(folder: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DPMSolverMultistepScheduler, which cannot draw with Z-Image") as refused:
        create_run(tiny_config(tmp_path, "run", folder, pictures, {}))
    assert refused.value.hint == "set evaluation.scheduler to own"
    assert not (tmp_path / "run").exists()
