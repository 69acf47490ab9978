"""Z-Image, on a miniature of its true classes: what is loaded when, what is computed, what a file holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from diffusers import ZImagePipeline
from safetensors.torch import load_file, save_file

import tasks
from shared.config.schema import Config, EvaluationConfig, ModelConfig
from shared.errors import ConfigError, ModelError
from shared.files.publication import publish
from shared.launch import resume
from shared.machine.hardware import Gpu
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import export
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.encoder_files import EncoderFiles
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import adaptable, base_model, lora_file, memory, presets, tokens
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import create_run, tiny_config
from tests.tiny_flow.z_image import write_file
from trainer.learner import Learner

SECTIONS: dict[str, dict[str, object]] = {
    "lora": {"rank": 2, "lora_alpha": 4},
    "train": {"max_train_steps": 3, "learning_rate": 0.05, "lr_warmup_steps": 0, "validation_steps": 3},
    "evaluation": {"scheduler": "own"},
}
JOBS = [Job("a", "a red dress", 1, (32, 32), 0), Job("b", "a long blue coat", 2, (32, 32), 0)]


FAMILY = FAMILIES["z-image"]


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow("z-image")


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its transformer alone, in the layout of its authors."""
    path = tmp_path_factory.mktemp("file") / "z_image_turbo.safetensors"
    write_file(ZImagePipeline.from_pretrained(folder), path)
    return path


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


def test_its_captions_are_counted_in_its_own_tokens(folder: Path) -> None:
    assert base_model.guess_family("Tongyi-MAI/Z-Image-Turbo") is FAMILY
    lengths = tokens.measure(["a red dress"], ModelConfig(path=str(folder)))
    assert lengths
    assert (lengths.counts, lengths.limit(75)) == ((11,), 504), "every byte is a token here"
    told = tokens.Lengths((600,), 504, ()).cut(75)
    assert told
    assert "data.max_token_length" not in told


def test_its_presets_know_a_distilled_model_by_its_name() -> None:
    preset = presets.recommend(FAMILY, Gpu(0, "a card", 0.0, 24 * 1024.0, (7, 5)), "somebody/Z-Image-Turbo")
    assert preset.name == "z-image on 24 GB"
    assert preset.choices["model.mixed_precision"].value == "bf16", "whatever the card"
    assert preset.choices["evaluation.guidance_scale"].value == 1.0
    assert preset.choices["data.resolution"].value == 1024
    assert preset.choices["evaluation.scheduler"].value == "own"


def test_a_noise_schedule_of_another_kind_is_refused_by_the_family(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
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


def test_the_text_encoder_is_loaded_only_while_something_is_encoded(trained: Trained, folder: Path) -> None:
    assert not trained.live.model.text_encoders, "gone when training begins"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderFiles, "load", lambda self: pytest.fail("everything is in the cache"))
        again = prepare(trained.run, trained.config, Accelerator(cpu=True), lambda done, total: None, begins=True)
    assert again.model.text_digest() == trained.live.model.text_digest()
    drawing, loads = loaded(folder), list[int]()
    load = EncoderFiles.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderFiles, "load", lambda self: (loads.append(1), load(self))[1])
        generator = ImageGenerator(drawing, trained.config.lora, trained.config.evaluation, 32)
        list(generator.draw(JOBS))
        list(generator.draw(JOBS))
    assert (len(loads), drawing.text_encoders) == (1, {})


def test_a_text_encoder_with_other_weights_has_another_digest(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    weights = tmp_path / "model" / "text_encoder" / "model.safetensors"
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    assert loaded(tmp_path / "model").text_digest() != loaded(folder).text_digest()


def test_a_file_of_the_transformer_is_completed_from_a_folder(folder: Path, file: Path) -> None:
    settings = ModelConfig(path=str(file), single_file_config=str(folder))
    assert base_model.family(str(file)) is FAMILY
    assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    assert base_model.identify(str(file))["fingerprint"]
    model, whole = loading.load_model(settings, "fp32", for_training=True), loaded(folder)
    theirs = whole.denoiser.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.denoiser.state_dict().items())
    assert model.text_digest() == whole.text_digest()
    shapes, expected = memory.read_shapes(str(file), described=str(folder)), memory.read_shapes(str(folder))
    assert shapes
    assert expected
    ends = FAMILY.presets["all"]
    assert shapes.weights("transformer") == expected.weights("transformer")
    assert shapes.weights("text_encoder") == expected.weights("text_encoder")
    counts = [memory.lora_parameters(found.components["transformer"], ends, 4) for found in (shapes, expected)]
    assert counts[0] == counts[1] > 0


def test_a_file_in_scaled_8_bits_is_refused_by_name(file: Path, tmp_path: Path) -> None:
    tensors = load_file(file) | {"model.diffusion_model.layers.0.attention.qkv.scale_weight": torch.ones(1)}
    save_file(tensors, tmp_path / "fp8.safetensors")
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(tmp_path / "fp8.safetensors"))


def test_a_distilled_model_is_trained_with_a_warning() -> None:
    told = FAMILY.caution("Tongyi-MAI/Z-Image-Turbo", EvaluationConfig())
    assert told
    assert "train Tongyi-MAI/Z-Image and draw with the distilled model" in told
    assert "evaluation.guidance_scale is 7" in told
    assert FAMILY.caution("Tongyi-MAI/Z-Image", EvaluationConfig()) is None


def test_a_change_that_does_not_suit_it_is_refused_before_it_is_written(trained: Trained) -> None:
    changed = trained.config.model_copy(update={"train": trained.config.train.model_copy(update={"noise_offset": 0.1})})
    before = trained.run.config.read_bytes()
    task = tasks.find(changed.run.task)
    with pytest.raises(ConfigError, match=r"train\.noise_offset is 0\.1, but Z-Image learns by flow matching"):
        resume.open_or_create(
            changed, task, resume.Resume(allow_change=("train.noise_offset",)), lambda text: None, lambda: None
        )
    assert trained.run.config.read_bytes() == before


def test_a_lora_of_another_family_is_refused_by_both_names(trained: Trained) -> None:
    found = lora_file.look_in(trained.run.snapshot(3))
    assert found.family is FAMILY
    assert adaptable.misfit(found, FAMILIES["sd1"], None) == "it is a LoRA for Z-Image, the base model is SD 1.x"
    base = adaptable.of_files(trained.config.model.path)
    assert adaptable.misfit(found, FAMILY, base) == ""


def test_the_header_names_its_architecture_and_how_noise_was_drawn(trained: Trained) -> None:
    header = lora_file.look_in(trained.run.snapshot(3)).metadata
    assert header["modelspec.architecture"] == "Z-Image/lora"
    assert (header["ss_timestep_sampling"], header["ss_discrete_flow_shift"]) == ("logit_normal", "2")
    assert "ss_min_snr_gamma" not in header
