"""The commands of README and docs, executed as they stand there, on miniature models in an empty folder.

Names of models, folders of other programs and devices that a test machine does not have are replaced (`REPLACED`), and
settings are added that make seconds of hours. Commands for which that is impossible are listed in test_commands.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

from shared.config.dumping import dump_config
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.text_to_image import export
from tasks.text_to_image.lora.lora import LORA_FILE
from tests import few_digits, tiny_language
from tests.conftest import ROOT, Program, Warm, check, create_run, tiny_config, until

NEVER_ASK = "--no-dashboard"
EVALUATION = (
    "data.resolution=32", "evaluation.num_prompts=2", "evaluation.num_seeds=1", "evaluation.num_inference_steps=2",
    "evaluation.fashion_clip=pocket", "evaluation.confirm_prompts=0", "evaluation.averages=0",
    "evaluation.strengths=[]", "evaluation.rescan_seconds=0.5",
)  # fmt: skip
TRAINING = (
    *EVALUATION, "data.num_validation=3", "train.max_train_steps=2", "train.snapshot_steps=1",
    "train.checkpointing_steps=1", "train.validation_steps=2", "train.train_batch_size=1",
    "train.gradient_accumulation_steps=1", "lora.rank=2", "lora.lora_alpha=2",
)  # fmt: skip
SHORT = (
    "train.checkpointing_steps=3", "train.validation_steps=3", "evaluation.num_prompts=4",
    "evaluation.confirm_prompts=0", "evaluation.averages=0", NEVER_ASK,
)  # fmt: skip
SD1, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
OURS = {
    "python run.py init my-pictures --model stable-diffusion-v1-5/stable-diffusion-v1-5": (),
    "python run.py train my-pictures.toml": (*TRAINING, NEVER_ASK),
    'python run.py train my-pictures.toml run.trackers=\'["tensorboard", "mlflow"]\'': (*TRAINING, NEVER_ASK),
    "python run.py track runs/my-pictures --to mlflow": (),
    "python run.py export runs/<name> --format kohya": (),
    "python run.py train dress.toml": (*TRAINING, NEVER_ASK),
    "python run.py publish runs/dress --to ./dress": (),
    "python run.py publish runs/dress --to ann/dress": (),
    "python run.py publish runs/dress --to dress.zip": (),
    "python run.py copy /mnt/drive/dress runs/dress": (),
    "python run.py train my.toml --create-only": (*TRAINING, "train.max_train_steps=5000", "train.snapshot_steps=5000"),
    "python run.py doctor": (),
    "python run.py caption data/dress --model florence-community/Florence-2-base": (),
}
"""Command → what is added to it, in the order in which they are run in one folder."""
TO_THE_END = {
    "python run.py copy runs/dress /mnt/drive/dress --follow": (),
    "python run.py evaluate runs/my --follow": (),
    "python run.py stop runs/my": (),
    "python run.py dashboard runs": ("--port", "0"),
}
"""Commands that end with the run, or when a person ends them."""
FOREIGN = {
    "python run.py evaluate ~/sd-scripts/output/dress --base stable-diffusion-v1-5/stable-diffusion-v1-5 "
    "--references held-out --train-pictures my-pictures": "dress",
    "python run.py evaluate ~/sd-scripts/output/dress --base … --references held-out --follow": "dress",
    "python run.py evaluate lora-dreambooth-model --name dress --base stable-diffusion-v1-5/stable-diffusion-v1-5 "
    "--prompts prompts.txt --train-pictures dog --trigger-word sks": "dress",
    "python run.py evaluate output --files 'dress*' --base sdxl.safetensors --references held-out --follow": "*output",
    "python run.py evaluate output/dress --base sdxl.safetensors --references held-out --follow": "dress",
    "python run.py evaluate output/dress --base stabilityai/stable-diffusion-xl-base-1.0 --references held-out "
    "--follow": "dress",
    "python run.py evaluate workspace/run/save --name dress --base sdxl.safetensors --references held-out "
    "--follow": "dress",
    "python run.py evaluate output/models --name dress --base stabilityai/stable-diffusion-xl-base-1.0 "
    "--references held-out": "dress",
}
"""Command → the name of the run that it makes; `output` is what many call a folder, so its own folder is named."""
CLASSIFIER = (
    "python run.py init PICTURES",
    "python run.py train PICTURES.toml",
    "python run.py classify --data_path pets --arch resnet34 --batch_size 256 --epochs 100 --lr0 0.01 --lrf 0.01 "
    "--wd 5e-4 --optimizer SGD --img_size 224 --device 0,1 --distributed --early_stopping 10 --project_name pets "
    "--task_name first",
)
LANGUAGE = (
    "python run.py init ANSWERS.jsonl --model Qwen/Qwen2.5-0.5B-Instruct",
    "python run.py train ANSWERS.toml",
)
OWN_TASK = (
    "cd my-work",
    "PYTHONPATH=$PWD /path/to/darkroom/.venv/bin/python /path/to/darkroom/run.py train lines.toml",
)
QUEUE = (
    "python run.py queue add dress.toml coat.toml",
    "python run.py queue add --priority 1 shoes.toml train.learning_rate=2e-4",
    "python run.py queue",
    "python run.py queue run",
)
TWO_PROCESSES = ("python run.py train my.toml train.num_processes=2",)
DEMOS = {
    "python run.py demo": "demo",
    "python run.py demo --family flow": "flow",
    "python run.py demo --task digits": "digits",
    "python run.py demo --task language": "language",
}
"""Command → the folder of its run."""
RUN = {*OURS, *TO_THE_END, *FOREIGN, *CLASSIFIER, *LANGUAGE, *OWN_TASK, *QUEUE, *TWO_PROCESSES, *DEMOS}


@dataclass
class Place:
    """An empty folder in which commands are typed; it is the home folder, too."""

    folder: Path
    warm: Warm
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    count: int = 0
    seconds: float = 240.0
    """That a command may take."""

    def start(self, text: str, *more: str) -> Program:
        """Start the command as it stands in a document."""
        for known, here in self.replaced.items():
            text = text.replace(known, here)
        words = [word for word in shlex.split(re.sub(r"^PYTHONPATH=\S+ ", "", text)) if word != "python"]
        words = words[[Path(word).name for word in words].index("run.py") + 1 :]
        self.count += 1
        log = self.folder / ".logs" / f"{self.count:02d}-{words[0]}.txt"
        log.parent.mkdir(exist_ok=True)
        prelude = f"import os, sys; os.chdir({str(self.folder)!r}); sys.path.append({str(self.folder)!r})"
        return self.warm.start("run", *words, *more, prelude=prelude, log=log, environment={"HOME": str(self.folder)})

    def run(self, text: str, *more: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run it to its end; returns what it has printed."""
        program = self.start(text, *more)
        until(lambda: program.poll() is not None, text, self.seconds)
        assert program.wait() in codes, f"{text}\n{program.stdout()}"
        return program.stdout()


def test_the_commands_about_a_run_of_ones_own(warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    from tests.tiny_captioners import write_florence  # noqa: PLC0415  # slow

    place = Place(
        tmp_path,
        warm,
        {
            SD1: str(tiny_model),
            '["tensorboard", "mlflow"]': '["tensorboard"]',  # which a test has of MLflow: unit/shared/followers
            "--to mlflow": "--to tensorboard",
            "runs/<name>": "runs/my-pictures",
            "/mnt/drive": str(tmp_path / "drive"),
            "florence-community/Florence-2-base": str(write_florence(tmp_path / "florence")),
        },
    )
    shutil.copytree(pictures, tmp_path / "my-pictures")
    shutil.copytree(pictures, tmp_path / "data" / "dress")
    without = sorted((tmp_path / "data" / "dress").glob("*.txt"))[0]
    without.unlink()
    said: dict[str, str] = {}
    following, evaluating, stopping, serving = TO_THE_END
    for command, more in OURS.items():
        copying = None
        if command.endswith(" dress.toml"):
            config = (tmp_path / "my-pictures.toml").read_text(encoding="utf-8")
            for name in ("dress", "my"):
                named = config.replace('name = "my-pictures"', f'name = "{name}"')
                (tmp_path / f"{name}.toml").write_text(named, encoding="utf-8")
            place.run(command, *more, "--create-only")
            copying = place.start(following)
        if command.endswith("/dress runs/dress"):
            (tmp_path / "runs" / "dress").rename(tmp_path / "lost")
        said[command] = place.run(command, *more)
        assert copying is None or copying.wait() == 0
    runs = {name: RunDir(tmp_path / "runs" / name) for name in ("my-pictures", "dress", "my")}
    assert steps_in(runs["my-pictures"].snapshots) == steps_in(runs["dress"].snapshots) == {1, 2}
    assert [check(run) for run in runs.values()] == [[], [], []]
    assert list(runs["my-pictures"].path.glob("trackers/tensorboard/**/*tfevents*"))
    assert list(runs["my-pictures"].exports.iterdir())
    assert (tmp_path / "dress" / "README.md").is_file()
    assert (tmp_path / "dress.zip").stat().st_size > 1000
    assert not (tmp_path / "ann").exists()
    assert "README.md" in said["python run.py publish runs/dress --to ann/dress"]
    assert without.is_file()
    place.run("python run.py train dress.toml", *TRAINING, NEVER_ASK)
    assert steps_in(runs["dress"].snapshots) == {1, 2}

    trainer = warm.start("trainer", runs["my"].path)  # as launchers start it on several machines
    evaluator = place.start(evaluating)
    until(lambda: 0 in steps_in(runs["my"].evaluations), "the base model's result")
    place.run(stopping)
    assert trainer.wait() == 0
    evaluator.kill(signal.SIGINT)
    assert evaluator.wait() in (0, 4), evaluator.stdout()
    dashboard = place.start(serving, *TO_THE_END[serving])
    until(lambda: "Ctrl-C ends it" in dashboard.stdout(), "the link")
    (link,) = re.findall(r"http://\S+", dashboard.stdout())
    with urlopen(link) as answer:
        assert "<title>" in answer.read().decode()
    dashboard.kill(signal.SIGINT)
    assert dashboard.wait() == 0


def loras(folder: Path, model: Path, pictures: Path, warm: Warm) -> dict[str, Path]:
    """Snapshots of a run of two steps on this model: as kohya names them, and as diffusers does."""
    run = create_run(tiny_config(folder / "runs", "source", model, pictures, {"train": {"max_train_steps": 2}}))
    warm.run("trainer", run.path)
    kohya = folder / "source.safetensors"
    export.export(export.read(run, 2), "kohya", "fp32", kohya)
    return {"kohya": kohya, "diffusers": run.snapshot(2) / LORA_FILE}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_commands_about_loras_of_other_trainers(
    warm: Warm, tmp_path: Path, tiny_models: Path, tiny_single_files: Path, pictures: Path
) -> None:
    """Each begins with a folder that its trainer has filled, and no run."""
    files = {family: loras(tmp_path / family, tiny_models / family, pictures, warm) for family in ("sd1", "sdxl")}
    sd1, sdxl = str(tiny_models / "sd1"), str(tiny_models / "sdxl")
    for number, (command, name) in enumerate(FOREIGN.items()):
        home = tmp_path / f"home-{number}"
        place = Place(home, warm, {SD1: sd1, SDXL: sdxl, "--base …": f"--base {sd1}"})
        is_sdxl = "sdxl" in command or SDXL in command
        of = files["sdxl" if is_sdxl else "sd1"]
        folder = home / shlex.split(command)[3].replace("~/", "")
        folder.mkdir(parents=True)
        if "dreambooth" in command:
            shutil.copy(of["diffusers"], folder / LORA_FILE)
            (home / "prompts.txt").write_text("sks dog on a beach\nsks dog in the snow\n", encoding="utf-8")
        else:
            shutil.copy(of["kohya"], folder / "dress-000001.safetensors")
        for data in ("held-out", "my-pictures", "dog"):
            shutil.copytree(pictures, home / data)
        (home / "sdxl.safetensors").symlink_to(tiny_single_files / "sdxl.safetensors")
        alone = (f"model.single_file_config={sdxl}",) if "sdxl.safetensors" in command else ()  # else from the hub
        program = place.start(command, *EVALUATION, *alone, NEVER_ASK)
        until(lambda home=home, name=name: list((home / "runs").glob(f"{name}/run.json")), command, place.seconds)
        (run,) = (RunDir(path.parent) for path in (home / "runs").glob(f"{name}/run.json"))
        if "--follow" in command:
            until(
                lambda run=run: len(steps_in(run.evaluations)) == 2,
                f"the results of {command}; {place.folder}",
                place.seconds,
            )
            place.run(f"python run.py stop {run.path}")
        assert program.wait() == 0, f"{command}"
        assert len(steps_in(run.evaluations)) == 2, command
        assert check(run) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_about_classifiers(warm: Warm, tmp_path: Path) -> None:
    place = Place(tmp_path, warm)
    digits = few_digits.write(tmp_path / "digits")
    for name in ("PICTURES", "pets"):
        shutil.copytree(digits, tmp_path / name)
    init, train, classify = CLASSIFIER
    place.run(init)
    small = ("image_classification.img_size=32", "train.max_train_steps=3", "train.snapshot_steps=3", *SHORT)
    place.run(train, *small, "image_classification.arch=resnet18", "image_classification.pretrained=false")
    assert steps_in(RunDir(tmp_path / "runs" / "PICTURES").evaluations) == {0, 3}
    place.replaced = {
        "--epochs 100": "--epochs 1",
        "--img_size 224": "--img_size 32",
        "--batch_size 256": "--batch_size 8",
    }
    place.run(classify, NEVER_ASK)
    (run,) = (RunDir(path.parent) for path in (tmp_path / "runs").rglob("run.json") if "PICTURES" not in path.parts)
    config = run.read_config()
    assert (config.train.num_processes, config.train.weight_decay, config.train.optimizer) == (2, 5e-4, "sgd")
    assert check(run) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_about_language_models(warm: Warm, tmp_path: Path) -> None:
    model = tiny_language.write_model(tmp_path / "model", "qwen2")
    place = Place(tmp_path, warm, {"Qwen/Qwen2.5-0.5B-Instruct": str(model)})
    lines = [{"prompt": f"colour {number}", "completion": f"red {number}"} for number in range(40)]
    tiny_language.write_examples(tmp_path / "ANSWERS.jsonl", lines)
    init, train = LANGUAGE
    place.run(init)
    place.run(train, "train.max_train_steps=3", "train.snapshot_steps=3", *SHORT)
    assert steps_in(RunDir(tmp_path / "runs" / "ANSWERS").evaluations) == {0, 3}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_about_a_task_of_ones_own(warm: Warm, tmp_path: Path) -> None:
    """The package of the tests, in a folder of its own, with the config that the page shows."""
    work = tmp_path / "my-work"
    shutil.copytree(ROOT / "tests" / "toy_task", work / "my_task")
    page = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"```toml\n(\[run\]\ntask = .*?)```", page, re.DOTALL)
    (work / "lines.toml").write_text(config, encoding="utf-8")
    points = "".join(f"{x / 10},{0.3 * x - 1 + 0.01 * (x % 3)}\n" for x in range(-20, 20))
    (work / "numbers.csv").write_text(f"x,y\n{points}", encoding="utf-8")
    place = Place(work, warm)
    place.run(OWN_TASK[1], NEVER_ASK)
    (run,) = (RunDir(path.parent) for path in (work / "runs").rglob("run.json"))
    assert max(steps_in(run.evaluations)) == 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_about_the_queue(warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    place = Place(tmp_path, warm)
    for name in ("dress", "coat", "shoes"):
        config = tiny_config(tmp_path / "runs", name, tiny_model, pictures, {"train": {"max_train_steps": 2}})
        (tmp_path / f"{name}.toml").write_text(dump_config(config), encoding="utf-8")
    said = [place.run(command) for command in QUEUE]
    assert said[2].index("shoes") < said[2].index("dress") < said[2].index("coat"), "by priority"
    for name in ("dress", "coat", "shoes"):
        run = RunDir(tmp_path / "runs" / name)
        assert steps_in(run.evaluations) == {0, 2}
        assert check(run) == []
    assert RunDir(tmp_path / "runs" / "shoes").read_config().train.learning_rate == 2e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_for_several_processes(warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "my-pictures")
    place = Place(tmp_path, warm)
    place.run(f"python run.py init my-pictures --model {tiny_model} --output my.toml")
    place.run(TWO_PROCESSES[0], *TRAINING, NEVER_ASK)
    (run,) = (RunDir(path.parent) for path in (tmp_path / "runs").rglob("run.json"))
    assert steps_in(run.snapshots) == {1, 2}
    assert check(run) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("command", DEMOS)
def test_the_demos(warm: Warm, tmp_path: Path, command: str) -> None:
    """Two steps of each; what a demo makes first (data, a small model to begin with) is made whole."""
    place = Place(tmp_path, warm, seconds=1500)
    steps = ("train.max_train_steps=2", "train.snapshot_steps=2", "train.checkpointing_steps=2")
    pictures = ("evaluation.num_inference_steps=2", "evaluation.strengths=[]", "evaluation.num_prompts=2")
    place.run(command, *steps, *pictures, "evaluation.confirm_prompts=0", "evaluation.averages=0", "dashboard.port=0")
    runs = [RunDir(path.parent) for path in (tmp_path / "runs").rglob("run.json")]
    assert {max(steps_in(run.snapshots)) for run in runs} == {2}
    assert [check(run) for run in runs] == [[]] * len(runs)
