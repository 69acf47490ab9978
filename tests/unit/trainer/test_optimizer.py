"""Optimizers by name: they learn, their state survives a checkpoint bit for bit, bad settings are named."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest
import torch
from torch.optim import Optimizer

from shared.config.schema import TrainConfig
from shared.errors import ConfigError
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.protocol import ParameterGroup
from tasks.text_to_image.training.parameter_groups import parameter_groups
from tests.conftest import RunMaker
from trainer import optimizer as optimizers
from trainer.checkpoint import Checkpoint, copy_to_host

NAMES = [
    "adamw",
    "adamw8bit",
    "prodigy",
    "adafactor",
    "SGD",
    "Adam",
    "adagrad",
    "adadelta",
    "adamax",
    "asgd",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "Muon",
    "torch.optim.NAdam",
    "tests.local_optimizers.SignDescent",
    "tests.local_optimizers.ScheduleFree",
]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "prodigy": {"d_coef": 2.0, "use_bias_correction": True, "safeguard_warmup": True, "betas": [0.9, 0.99]},
    "adafactor": {"beta1": 0.9},
    "adamw8bit": {"min_8bit_size": 64},
}


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def settings_of(name: str, **keys: Any) -> TrainConfig:
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    rate = 1.0 if name == "prodigy" else 1e-2
    arguments = ARGUMENTS.get(name.casefold(), {})
    schedule = {"lr_scheduler": "constant"} if name.endswith("ScheduleFree") else {}
    return TrainConfig(**{"optimizer": name, "learning_rate": rate, "optimizer_args": arguments, **schedule, **keys})


class Adapter(torch.nn.Module):
    """Two low-rank pairs, the second matrices zero as a fresh LoRA has them."""

    def __init__(self, settings: TrainConfig) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.matrices = torch.nn.ParameterList(
            [torch.randn(4, 32), torch.zeros(32, 4), torch.randn(4, 16), torch.zeros(16, 4)]
        )
        up = [self.matrices[1], self.matrices[3]]
        groups = parameter_groups(list(self.matrices[:2]), list(self.matrices[2:]), settings, up)
        self.optimizer = optimizers.build(groups, settings)
        self.peaks = optimizers.peak_rates(self.optimizer)
        self.factor = optimizers.schedule(settings)

    def train_steps(self, steps: range) -> list[float]:
        """The effective learning rate of every step."""
        rates: list[float] = []
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            x, y = torch.randn(8, 32, generator=generator), torch.randn(8, 16, generator=generator)
            down_1, up_1, down_2, up_2 = self.matrices
            hidden = x + x @ down_1.T @ up_1.T
            loss = (hidden[:, :16] + hidden[:, :16] @ down_2.T @ up_2.T - y).square().mean()
            loss.backward()
            rates.append(optimizers.set_rates(self.optimizer, self.peaks, self.factor(step)))
            self.optimizer.step()
            self.optimizer.zero_grad()
        return rates


def through_disk(run: RunDir, step: int, optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state as a checkpoint gives it back."""
    save(run, step, optimizer)
    return Checkpoint.read(run.checkpoint(step)).optimizer


def on_disk(run: RunDir, step: int, optimizer: Optimizer) -> tuple[bytes, dict[str, Any]]:
    """An optimizer's state as a checkpoint holds it."""
    save(run, step, optimizer)
    facts = json.loads((run.checkpoint(step) / "state.json").read_text(encoding="utf-8"))
    return (run.checkpoint(step) / "optimizer.safetensors").read_bytes(), {**facts, "step": None}


def save(run: RunDir, step: int, optimizer: Optimizer) -> None:
    checkpoint = Checkpoint(step, {}, copy_to_host(optimizer.state_dict()), {})
    manifest = Manifest(kind="checkpoint", run_id=run.read_record().run_id, step=step)
    assert publish(run.staging, run.checkpoint(step), manifest, checkpoint.write)


@pytest.mark.parametrize("name", NAMES)
def test_n_steps_a_checkpoint_and_n_more_equal_2n_steps_bit_for_bit(name: str, run: RunDir) -> None:
    settings = settings_of(name, max_train_steps=12, lr_warmup_steps=2)
    whole, first, second, cold = (Adapter(settings) for _ in range(4))
    start = copy.deepcopy(whole.matrices)
    rates = whole.train_steps(range(12))

    early = first.train_steps(range(6))
    second.matrices.load_state_dict(first.matrices.state_dict())
    cold.matrices.load_state_dict(first.matrices.state_dict())
    optimizers.restore(second.optimizer, through_disk(run, 6, first.optimizer))
    assert early + second.train_steps(range(6, 12)) == rates
    cold.train_steps(range(6, 12))

    for expected, resumed, before in zip(whole.matrices, second.matrices, start, strict=True):
        assert torch.equal(expected, resumed)
        assert not torch.equal(expected, before), "it learns"
        assert torch.isfinite(expected).all()
    if name != "SGD" or ARGUMENTS["sgd"]:
        forgotten = zip(whole.matrices, cold.matrices, strict=True)
        assert any(not torch.equal(expected, other) for expected, other in forgotten), "the state matters"
    assert on_disk(run, 13, second.optimizer) == on_disk(run, 12, whole.optimizer)


def test_states_are_quantised_to_8_bits() -> None:
    adapter = Adapter(settings_of("adamw8bit"))
    adapter.train_steps(range(2))
    assert adapter.optimizer.state[adapter.matrices[0]]["state1"].dtype == torch.uint8


def test_the_learning_rate_shown_for_prodigy_is_the_one_it_uses(run: RunDir) -> None:
    adapter = Adapter(settings_of("prodigy", optimizer_args={}, lr_scheduler="constant"))
    rates = adapter.train_steps(range(30))
    assert rates[0] == 1e-6
    assert rates[-1] > 10 * rates[0]
    before = adapter.optimizer.param_groups[0]["d"]
    assert adapter.train_steps(range(30, 31)) == [before]


def test_adafactor_takes_the_learning_rate_it_is_given() -> None:
    adapter = Adapter(settings_of("adafactor", optimizer_args={}, lr_scheduler="constant"))
    before = adapter.matrices[1].clone()
    assert adapter.train_steps(range(1)) == [1e-2]
    assert (adapter.matrices[1] - before).square().mean().sqrt().item() == pytest.approx(1e-2, rel=0.5)


def test_adafactors_d_is_no_factor_of_the_learning_rate() -> None:
    group = {"params": [torch.nn.Parameter(torch.ones(2))]}
    adafactor = torch.optim.Adafactor([group], d=3.0)
    assert optimizers.set_rates(adafactor, [0.5], 0.5) == 0.25


# ---- groups and schedules ----


def test_text_encoders_have_a_learning_rate_of_their_own() -> None:
    adapter = Adapter(settings_of("adamw", text_encoder_learning_rate=1e-3, lr_scheduler="constant"))
    adapter.train_steps(range(1))
    assert [group["lr"] for group in adapter.optimizer.param_groups] == [1e-2, 1e-3]
    assert [len(group["params"]) for group in adapter.optimizer.param_groups] == [2, 2]
    assert [group["weight_decay"] for group in adapter.optimizer.param_groups] == [1e-2, 1e-2]


def test_without_one_they_share_the_denoisers() -> None:
    adapter = Adapter(settings_of("adamw"))
    assert adapter.peaks == [1e-2, 1e-2]


def test_without_text_encoders_there_is_one_group() -> None:
    settings = TrainConfig(weight_decay=0.5)
    built = optimizers.build(parameter_groups([torch.nn.Parameter(torch.ones(2))], [], settings), settings)
    assert len(built.param_groups) == 1
    assert built.param_groups[0]["weight_decay"] == 0.5
    assert isinstance(built, torch.optim.AdamW)


def test_lora_plus_gives_b_matrices_a_rate_of_their_own() -> None:
    adapter = Adapter(settings_of("adamw", text_encoder_learning_rate=1e-3, lora_plus_ratio=16))
    assert adapter.peaks == [1e-2, 0.16, 1e-3, 16e-3]
    groups = [[list(value.shape) for value in group["params"]] for group in adapter.optimizer.param_groups]
    assert groups == [[[4, 32]], [[32, 4]], [[4, 16]], [[16, 4]]]
    assert adapter.train_steps(range(1)) == [1e-2], "the learning rate of train.csv is that of the others"


def test_the_first_update_of_b_is_larger_by_the_ratio() -> None:
    keys = {"optimizer_args": {}, "weight_decay": 0.0, "lr_scheduler": "constant"}
    start, alike, plus = (Adapter(settings_of("sgd", **keys, lora_plus_ratio=ratio)) for ratio in (False, False, 16))
    for adapter in (alike, plus):
        adapter.train_steps(range(1))
    for index, ratio in enumerate((1, 16, 1, 16)):
        before = start.matrices[index]
        moved, expected = plus.matrices[index] - before, ratio * (alike.matrices[index] - before)
        assert torch.allclose(moved, expected, rtol=1e-5), index
    assert (plus.matrices[1] - start.matrices[1]).abs().max() > 1e-4


def test_lora_plus_goes_on_from_a_checkpoint_bit_for_bit(run: RunDir) -> None:
    settings = settings_of("adamw", lora_plus_ratio=16)
    whole, first, second = (Adapter(settings) for _ in range(3))
    whole.train_steps(range(8))
    first.train_steps(range(4))
    second.matrices.load_state_dict(first.matrices.state_dict())
    optimizers.restore(second.optimizer, through_disk(run, 4, first.optimizer))
    second.train_steps(range(4, 8))
    assert all(map(torch.equal, whole.matrices, second.matrices))


def test_prodigy_cannot_have_lora_plus() -> None:
    with pytest.raises(ConfigError, match="lora_plus_ratio is 16: Prodigy adapts one rate"):
        optimizers.check(TrainConfig(optimizer="prodigy", learning_rate=1.0, lora_plus_ratio=16))


def test_a_cosine_falls_from_the_peak_to_its_final_fraction() -> None:
    factor = optimizers.schedule(TrainConfig(max_train_steps=100, lr_warmup_steps=10, lr_final_fraction=0.25))
    assert factor(0) == 0
    assert factor(5) == 0.5
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.25 + 0.75 / 2)
    assert factor(100) == 0.25


def test_the_default_cosine_ends_at_zero() -> None:
    factor = optimizers.schedule(TrainConfig(max_train_steps=100))
    assert (factor(0), factor(50), factor(100)) == (1, pytest.approx(0.5), 0)


def test_a_cosine_restarts_as_often_as_asked() -> None:
    settings = TrainConfig(max_train_steps=90, lr_scheduler="cosine_with_restarts", lr_num_cycles=3)
    factor = optimizers.schedule(settings)
    assert [done for done in range(90) if factor(done) == 1] == [0, 30, 60]


@pytest.mark.parametrize("name", ["constant", "constant_with_warmup"])
def test_a_constant_rate_has_no_final_fraction(name: str) -> None:
    settings = TrainConfig(lr_scheduler=name, lr_final_fraction=0.1)
    assert {optimizers.schedule(settings)(done) for done in (0, 3, 999)} == {1.0}


@pytest.mark.parametrize("name", [*get_args(TrainConfig.model_fields["lr_scheduler"].annotation)])
def test_every_schedule_warms_up_as_long_as_asked(name: str) -> None:
    factor = optimizers.schedule(TrainConfig(lr_scheduler=name, lr_warmup_steps=4, lr_final_fraction=0.1))
    assert [factor(done) for done in range(5)] == [0, 0.25, 0.5, 0.75, 1]


# ---- restoring ----


def test_changed_settings_win_over_those_in_the_checkpoint(run: RunDir) -> None:
    old = Adapter(settings_of("prodigy"))
    old.train_steps(range(20))
    saved = through_disk(run, 20, old.optimizer)
    changed = Adapter(settings_of("prodigy", weight_decay=0.5, optimizer_args={"d_coef": 0.5}))
    optimizers.restore(changed.optimizer, saved)
    group, before = changed.optimizer.param_groups[0], old.optimizer.param_groups[0]
    assert (group["weight_decay"], group["d_coef"]) == (0.5, 0.5)
    assert group["d"] == before["d"] > before["d0"]
    assert (group["k"], group["d_numerator"]) == (20, before["d_numerator"])


# ---- other packages' classes ----

SCHEDULE_FREE = "tests.local_optimizers.ScheduleFree"


def test_what_a_schedule_free_optimizer_ships_is_its_average_and_looking_changes_nothing() -> None:
    watched, alone = Adapter(settings_of(SCHEDULE_FREE)), Adapter(settings_of(SCHEDULE_FREE))
    for step in range(6):
        with optimizers.averaged(watched.optimizer):
            used = [value.detach().clone() for value in watched.matrices]
        watched.train_steps(range(step, step + 1))
        alone.train_steps(range(step, step + 1))
    assert all(map(torch.equal, watched.matrices, alone.matrices))
    with optimizers.averaged(watched.optimizer):
        used = [value.detach().clone() for value in watched.matrices]
    for value, learning in zip(used, watched.matrices, strict=True):
        z = watched.optimizer.state[learning]["z"]
        assert torch.allclose(value, (learning - 0.1 * z) / 0.9, atol=1e-6)
        assert not torch.equal(value, learning)


def test_an_error_while_looking_leaves_the_weights_that_learn() -> None:
    adapter = Adapter(settings_of(SCHEDULE_FREE))
    adapter.train_steps(range(3))
    before = copy.deepcopy(adapter.matrices)
    with pytest.raises(ValueError, match="broken"), optimizers.averaged(adapter.optimizer):
        raise ValueError("broken")
    assert all(map(torch.equal, adapter.matrices, before))
    adapter.train_steps(range(3, 4))


def test_other_optimizers_ship_what_learns() -> None:
    adapter = Adapter(settings_of("adamw"))
    before = copy.deepcopy(adapter.matrices)
    with optimizers.averaged(adapter.optimizer):
        assert all(map(torch.equal, adapter.matrices, before))


def test_a_schedule_free_optimizer_is_refused_another_average() -> None:
    with pytest.raises(ConfigError, match=r"train\.ema_decay is 0\.9, but .* publishes its own average"):
        optimizers.check(TrainConfig(optimizer=SCHEDULE_FREE, lr_scheduler="constant", ema_decay=0.9))


def test_a_schedule_free_optimizer_is_refused_a_schedule() -> None:
    with pytest.raises(ConfigError, match="lr_scheduler is cosine") as refused:
        optimizers.check(TrainConfig(optimizer=SCHEDULE_FREE))
    assert "train.lr_scheduler = 'constant'" in refused.value.hint
    optimizers.check(TrainConfig(optimizer=SCHEDULE_FREE, lr_scheduler="constant_with_warmup", lr_warmup_steps=5))


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("lion_pytorch.Lion", "the module lion_pytorch is not installed", "pip install lion-pytorch"),
        ("a_package.inner.Lion", "the module a_package is not installed", "pip install a-package"),
        ("tests.local_optimizers.SignDecent", "did you mean tests.local_optimizers.SignDescent", "choose one of tests"),
        ("tests.local_optimizers.NoOptimizer", "no subclass of torch.optim.Optimizer", "ScheduleFree, SignDescent"),
        ("tests.local_optimizers.annotations", "no subclass of torch.optim.Optimizer", "KeepsLists"),
        ("json.JSONDecoder", "no subclass of torch.optim.Optimizer", "choose a class of another module"),
        ("torch.optim.LBFGS", "evaluates the loss several times per step", "adamw"),
        ("tests.local_optimizers.NeedsClosure", "evaluates the loss several times per step", "adamw"),
        ("tests.local_optimizers.CallsClosure", "fail at the first update", "pydoc tests.local_optimizers.CallsC"),
        ("tests.local_optimizers.KeepsLists", "cannot be saved as tensors and plain values: .* not JSON", "adamw"),
        ("tests.local_optimizers.KeepsToItself", "it gives other results after a checkpoint", "adamw"),
        (".Lion", "not known", "module.Class"),
        ("lion.", "not known", "module.Class"),
    ],
)
def test_a_class_that_cannot_train_here_is_refused(name: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        optimizers.check(TrainConfig(optimizer=name, lr_scheduler="constant"))
    assert hint in refused.value.hint


def test_arguments_that_a_signature_does_not_name_are_passed_on() -> None:
    name = "tests.local_optimizers.TakesAnything"
    optimizers.check(TrainConfig(optimizer=name, optimizer_args={"betas": [0.5, 0.6]}))
    with pytest.raises(ConfigError, match="cannot be created"):
        optimizers.check(TrainConfig(optimizer=name, optimizer_args={"beta": 1}))


def test_the_check_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    optimizers.check(TrainConfig())
    assert torch.equal(torch.get_rng_state(), before)


# ---- refusals ----


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adamv", "train.optimizer is 'adamv', not known, did you mean adam"),
        ("Prodgy", "did you mean prodigy"),
        ("adam8bit", "did you mean adamw8bit"),
        ("LBFGS", "LBFGS cannot be used: it evaluates the loss several times"),
        ("SparseAdam", "sparse gradients"),
        ("Optimizer", "'Optimizer', not known"),
        ("lr_scheduler", "not known"),
    ],
)
def test_an_optimizer_that_is_none_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        optimizers.check(TrainConfig(optimizer=name))


@pytest.mark.parametrize(
    ("name", "package", "dotted"),
    [
        ("lion", "lion-pytorch", "lion_pytorch.Lion"),
        ("CAME", "pytorch-optimizer", "pytorch_optimizer.CAME"),
        ("AdamWScheduleFree", "schedulefree", "schedulefree.AdamWScheduleFree"),
        ("adamw_schedule_free", "schedulefree", "schedulefree.AdamWScheduleFree"),
        ("DAdaptAdam", "dadaptation", "dadaptation.DAdaptAdam"),
    ],
)
def test_a_short_name_from_a_known_package_is_told_in_full(name: str, package: str, dotted: str) -> None:
    with pytest.raises(ConfigError, match=f"{name!r}, which is not in torch.optim") as refused:
        optimizers.check(TrainConfig(optimizer=name))
    assert refused.value.hint == f"pip install {package}, and set train.optimizer = {dotted!r}"


def test_an_optimizer_of_matrices_refuses_convolutions_with_a_hint_that_cures() -> None:
    with pytest.raises(ConfigError, match="Muon only supports 2D") as refused:
        optimizers.build(
            [ParameterGroup([torch.nn.Parameter(torch.zeros(4, 4, 3, 3))], 1e-3)], TrainConfig(optimizer="muon")
        )
    assert "choose another optimizer if this one takes matrices only" in refused.value.hint


def test_every_wrong_argument_is_named_at_once() -> None:
    arguments = {"beta": [0.9, 0.99], "lr": 1.0, "eps": 1e-6}
    with pytest.raises(ConfigError) as refused:
        optimizers.check(TrainConfig(optimizer_args=arguments))
    assert "has beta, which AdamW does not take, did you mean betas?" in str(refused.value)
    assert "has lr, which is train.learning_rate" in str(refused.value)
    assert "eps" in refused.value.hint


@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        ("adamw", {"betas": [0.9, 1.5]}),
        ("adamw", {"betas": 0.9}),
        ("adamw", {"eps": "small"}),
        ("adafactor", {"relative_step": True}),
        ("sgd", {"nesterov": True}),
        ("nadam", {"betas": [0.9]}),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_loaded(optimizer: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"train\.optimizer"):
        optimizers.check(TrainConfig(optimizer=optimizer, optimizer_args=arguments))


def test_prodigy_cannot_have_two_learning_rates() -> None:
    with pytest.raises(ConfigError, match="Prodigy adapts one rate"):
        optimizers.check(TrainConfig(optimizer="prodigy", learning_rate=1.0, text_encoder_learning_rate=0.5))


def test_prodigy_with_a_learning_rate_for_adam_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    optimizers.check(TrainConfig(optimizer="prodigy"))
    assert "its default is 1.0" in caplog.text


def test_muon_wants_matrices_and_says_so() -> None:
    with pytest.raises(ConfigError, match="muon cannot be created"):
        optimizers.build(
            [ParameterGroup([torch.nn.Parameter(torch.ones(2, 2, 1, 1))], 1e-3)], TrainConfig(optimizer="muon")
        )


def test_bitsandbytes_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs bitsandbytes") as refused:
        optimizers.check(TrainConfig(optimizer="adamw8bit"))
    assert "darkroom[gpu]" in refused.value.hint


@pytest.mark.parametrize("name", ["adamw", "prodigy", "adafactor", "muon"])
def test_good_settings_pass_the_check(name: str) -> None:
    optimizers.check(settings_of(name))
