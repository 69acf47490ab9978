"""What lies in the folder of another trainer comes into the run: what is whole at once, what still changes later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from shared.errors import ConfigError
from shared.launch.task import Say
from shared.run_folder.file_to_ship import is_gone
from shared.run_folder.phrase import Unit
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.text_to_image.foreign import moved, numbering, taking
from tasks.text_to_image.foreign.found import SETTLED_SECONDS, Contents, Found
from tasks.text_to_image.foreign.numbering import some

DAMAGED_SECONDS = 30.0
"""A file without its end that has not changed for so long is damaged, unless a trainer is still at work on it."""
When = Literal["only what is whole", "also what has stopped changing", "everything"]


@dataclass
class Bringing:
    """Called again and again with what lies there. `say` hears of everything once."""

    run: RunDir
    say: Say
    announces: bool = False
    """Say of each LoRA that it has been taken for the first time."""
    unsettled: int = 0
    """LoRAs that were not whole yet, or still changed, when the folder was last looked at."""
    _before: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict[str, tuple[tuple[int, int], ...]])
    """Label → its files' sizes and times when the folder was last looked at."""
    said: set[str] = field(default_factory=set[str])
    """Sentences that `say` has heard."""
    _missed: set[str] = field(default_factory=set[str])
    """Labels of LoRAs that were taken and are gone by now."""

    def bring(self, contents: Contents, when: When = "only what is whole") -> int:
        """Take what is new; returns how many LoRAs have been taken, again or for the first time."""
        taken = taking.taken(self.run)
        ready = {one.label for one in contents.loras if self._is_ready(one, when, taken.values())}
        labels = {one.label for one in contents.loras}
        again = {one.label for one in contents.loras if one.label in ready and self._is_in_place_of(one, labels, taken)}
        loras = [one for one in contents.loras if one.label not in again]
        self._miss(labels, taken)
        self.unsettled = len(contents.loras) - len(ready)
        self._before = {one.label: one.state for one in contents.loras}
        if not loras:
            return 0
        try:
            numbered = numbering.number(loras, taking.same, self._unit(taken))
        except ConfigError as error:
            self._tell(f"{error}; {error.hint}")
            return 0
        self._note(numbered.unit, contents.trainer)
        for sentence in numbered.said:
            self._tell(sentence)
        known = {label: step for step, label in taken.items()}
        come = [(known.get(one.label, step), one) for step, one in numbered.loras.items() if one.label in ready]
        return sum(self._take(one, step, taken, is_guessed=step == numbered.guessed) for step, one in come)

    def _unit(self, taken: dict[int, str]) -> Unit | None:
        """What the numbers count; None before the first LoRA has been taken."""
        record = self.run.read_record().imported
        return record.unit if record and taken else None

    @property
    def _counted(self) -> Unit:
        """What the numbers count, once they are known."""
        return self.run.read_record().unit

    def _note(self, unit: Unit, trainer: str) -> None:
        """What the record could not say of a folder that was empty when the run was made."""
        record = self.run.read_record()
        assert record.imported
        noted = record.imported.model_copy(update={"unit": unit, "trainer": record.imported.trainer or trainer})
        if noted != record.imported:
            record.model_copy(update={"imported": noted}).write(self.run.record)

    def _is_ready(self, one: Found, when: When, taken: Collection[str]) -> bool:
        """Whether it is written to its end, or no more will come."""
        if when == "everything":
            return True
        unchanged = self._before.get(one.label) == one.state
        if not one.fault:
            return unchanged or one.seconds_unchanged > SETTLED_SECONDS
        if not unchanged or one.seconds_unchanged <= DAMAGED_SECONDS:
            return False
        if when == "only what is whole":
            self._tell(f"{one.label} waits: it {one.fault}, and no longer grows")
        return when == "also what has stopped changing"

    def _take(self, one: Found, step: int, taken: dict[int, str], *, is_guessed: bool) -> bool:
        """Whether it was taken now."""
        label = taken.get(step)
        if label is None:
            if not taking.take(self.run, one, step, self._tell, is_guessed=is_guessed):
                return False
            taken[step] = one.label
            if one.fault:
                self._tell(f"{one.label} cannot be evaluated, as {self._counted} {step}: it {one.fault}")
            elif self.announces:
                self._tell(f"found {self._counted} {step} ({one.label})")
            return True
        result = self.run.read_result(step)
        if label != one.label and result and result.status == "failed" and not one.fault:
            taking.give_up(self.run, step)
            self._tell(f"{one.label} takes the place of {label}, which could not be evaluated")
            return taking.take(self.run, one, step, self._tell, is_guessed=is_guessed)
        if label != one.label:
            self._tell(f"{one.label} is left out: {label} is the one of {self._counted} {step}")
            return False
        if not taking.changed(self.run, one, step):
            return False
        if result and result.status == "ok":
            self._tell(
                f"{one.label} has changed since it was evaluated as {self._counted} {step}; its numbers are of what "
                "it was: --new evaluates all again"
            )
            return False
        taking.give_up(self.run, step)
        return taking.take(self.run, one, step, self._tell, is_guessed=is_guessed)

    def _is_in_place_of(self, one: Found, present: Collection[str], taken: dict[int, str]) -> bool:
        """Whether the last LoRA has the bytes of a snapshot whose file the trainer has deleted: it is that snapshot's
        from now on, and no further candidate.
        """
        if one.name.is_numbered or one.label in taken.values() or (step := taking.twin(self.run, one)) is None:
            return False
        if taken[step] in present:  # numbering leaves one of them out
            return False
        lost = any(path.is_symlink() for path in self.run.snapshot(step).rglob("*"))
        if lost:
            moved.relink(self.run, step, one)
        now = f"it is the file of {self._counted} {step} from now on" if lost else "it is left out"
        self._tell(f"{one.label} has the same bytes as {taken[step]}, which has been deleted: {now}")
        return True

    def _miss(self, present: Collection[str], taken: dict[int, str]) -> None:
        """Say what has been deleted since it was taken, and what was deleted before."""
        lost = {label: step for step, label in taken.items() if label not in self._missed and is_gone(self.run, step)}
        self._missed |= lost.keys()
        evaluated = steps_in(self.run.evaluations)
        if late := [label for label, step in lost.items() if step in evaluated]:
            self._tell(
                f"deleted or moved: {some(late)}; the results stay, but what is gone can neither be shipped nor "
                "evaluated again (--copy keeps what a trainer deletes)"
            )
        if early := [label for label, step in lost.items() if step not in evaluated]:
            self._tell(f"deleted or moved before the evaluation: {some(early)} (--copy keeps what a trainer deletes)")
        if unseen := sorted(self._before.keys() - set(present) - set(taken.values())):
            self._tell(f"deleted before it was whole: {some(unseen)}")

    def _tell(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.say(text)
