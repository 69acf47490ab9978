"""The embedded flow base learns a garment it has never seen: a real model, where miniatures have random weights."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from pocket.lessons.garments import write_concept
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import create_run, tiny_config
from trainer.learner import Learner

SECTIONS: dict[str, dict[str, object]] = {
    "data": {"resolution": 128, "num_validation": 3},
    "lora": {"rank": 8, "lora_alpha": 8, "target_modules": "all"},
    "train": {
        "max_train_steps": 16,
        "train_batch_size": 4,
        "learning_rate": 1e-2,
        "lr_warmup_steps": 0,
        "validation_steps": 16,
    },
    "evaluation": {"scheduler": "own"},
}


def test_a_few_steps_teach_it_kimonos_at_every_noise_level(tmp_path: Path) -> None:
    write_concept(tmp_path / "kimonos", 11)
    run = create_run(tiny_config(tmp_path / "runs", "run", Path("pocket-flow"), tmp_path / "kimonos", SECTIONS))
    config, accelerator = run.read_config(), Accelerator(cpu=True)
    learner = Learner(config, accelerator, prepare(run, config, accelerator, lambda done, total: None, begins=True))
    before = losses(learner)
    for _ in range(16):
        learner.update()
    after = losses(learner)
    assert len(before) > 4
    assert all(new < 0.9 * old for new, old in zip(after, before, strict=True)), (before, after)


def losses(learner: Learner) -> list[float]:
    """Held-out losses by noise level."""
    measured = learner.validate(lambda done, total: None)
    assert measured
    return [float(value or 0) for name, value in measured.columns.items() if name.startswith("held_out_t")]
