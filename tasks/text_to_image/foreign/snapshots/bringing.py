"""What lies in the folder of another trainer comes into the run: what is whole at once, what still changes later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from shared.errors import ConfigError
from shared.launch.task import Say
from shared.run_folder import averages
from shared.run_folder.file_to_ship import is_gone
from shared.run_folder.phrase import Unit
from shared.run_folder.retries import Retries
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import claimed, claimed_steps
from tasks.text_to_image.foreign.files import numbering
from tasks.text_to_image.foreign.files.found import SETTLED_SECONDS, Contents, Found
from tasks.text_to_image.foreign.files.numbering import some
from tasks.text_to_image.foreign.snapshots import moved, taking

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
    _retries: Retries = field(init=False)

    def __post_init__(self) -> None:
        self._retries = Retries(self.run)

    def bring(self, contents: Contents, when: When = "only what is whole") -> int:
        """Take what is new; returns how many LoRAs have been taken, again or for the first time."""
        taken = taking.taken(self.run)
        ready = {one.label for one in contents.loras if self._is_ready(one, when, taken.values())}
        labels = {one.label for one in contents.loras}
        again = {one.label for one in contents.loras if one.label in ready and self._is_in_place_of(one, labels, taken)}
        loras = [one for one in contents.loras if one.label not in again]
        self._miss(labels, taken)
        self._retry(taken)
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
        come = [(step, one) for step, one in numbered.loras.items() if one.label in ready]
        numbers = {one.label: step for step, one in numbered.loras.items()}  # copies of others have none
        again_here = [one for one in loras if one.label in known and one.label in ready]
        self._give_up([(before := known[one.label], numbers.get(one.label, before), one) for one in again_here], taken)
        here = {label: step for step, label in taken.items()}
        return sum(
            self._take(one, step, taken, is_guessed=step in numbered.guessed)
            for step, one in come
            if one.label not in here
        )

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
            taken[step] = one.label
            self._tell(f"{one.label} takes the place of {label}, which could not be evaluated")
            return taking.take(self.run, one, step, self._tell, is_guessed=is_guessed)
        guess = "; its number was a guess: --new numbers all again" if taking.is_a_guess(self.run, step) else ""
        self._tell(f"{one.label} is left out: {label} is the one of {self._counted} {step}{guess}")
        return False

    def _give_up(self, come: list[tuple[int, int, Found]], taken: dict[int, str]) -> None:
        """Remove snapshots without a good result whose file is another one by now, or whose number was a guess and is
        told by now, so that they can be taken again. come: (step that was taken, step by now, LoRA).
        """
        evaluated: list[tuple[int, Found]] = []
        for before, step, one in come:
            is_other = taking.changed(self.run, one, before)
            if not is_other and (step == before or not taking.is_a_guess(self.run, before)):
                continue
            with claimed(self.run, before) as mine:
                result = self.run.read_result(before) if mine else None
                if not mine:  # it is being drawn: its result will be of the file that was loaded
                    self.unsettled += is_other
                elif result and result.status == "ok":
                    evaluated += [(before, one)] if is_other else []
                elif is_other or result is None:
                    taking.give_up(self.run, before)
                    del taken[before]
                    self._tell_again(one, before, step, is_other=is_other)
        if evaluated:
            names, steps = some([one.label for _, one in evaluated]), some([str(step) for step, _ in evaluated])
            apart = "; so do that if your trainer has begun again" if len(evaluated) > 1 else ""
            self._tell(
                f"changed since the evaluation: {names} ({self._counted} {steps}); the numbers are of the files as "
                f"they were, which cannot be shipped: restore them, or --new evaluates all again{apart}"
            )

    def _tell_again(self, one: Found, before: int, step: int, *, is_other: bool) -> None:
        unit = self._counted
        if is_other:
            moved = "" if step == before else f", no longer {before}"
            self._tell(f"{one.label} has changed before it was evaluated: it is taken as {unit} {step}{moved}")
        else:
            self._tell(f"{one.label} is taken as {unit} {step}: {before} was a guess")

    def _retry(self, taken: dict[int, str]) -> None:
        """Have LoRAs whose files were missing, and are back, evaluated again."""
        back = {label for step, label in taken.items() if label in self._missed and not is_gone(self.run, step)}
        self._missed -= back
        if again := self._retries.retry():
            steps = some([averages.label(step) for step in again])
            self._tell(f"files that were missing are back: evaluating {self._counted} {steps} again")

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
        results = {step: self.run.read_result(step) for step in lost.values()}
        evaluated = {step for step, result in results.items() if result and result.status == "ok"}
        if late := [label for label, step in lost.items() if step in evaluated]:
            self._tell(
                f"deleted or moved: {some(late)}; the results stay, but what is gone can neither be shipped nor "
                "evaluated again (--copy keeps what a trainer deletes)"
            )
        drawn = claimed_steps(self.run)
        if during := [label for label, step in lost.items() if step in drawn - evaluated]:
            self._tell(
                f"deleted or moved during the evaluation: {some(during)}; it goes on if the file was loaded before "
                "(--copy keeps what a trainer deletes)"
            )
        if early := [label for label, step in lost.items() if step not in evaluated | drawn]:
            self._tell(f"deleted or moved before the evaluation: {some(early)} (--copy keeps what a trainer deletes)")
        if unseen := sorted(self._before.keys() - set(present) - set(taken.values())):
            self._tell(f"deleted before it was whole: {some(unseen)}")

    def _tell(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.say(text)
