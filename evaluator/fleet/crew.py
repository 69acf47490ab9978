"""The members of a fleet on a cluster of Ray: placed on its machines, replaced when they die, one work at a time."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evaluator.fleet.member import Facts, Member, News, Refusal
from evaluator.fleet.places import Place, allotted
from shared.errors import DarkroomError, DeviceError, ModelError
from shared.run_folder.pending import Work

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between looks for machines that have come or gone."""
LEAVE_SECONDS = 5.0
MAX_DEATHS = 3
"""In a row on one machine, before it gets no member any more."""
CAUSES = {
    "node died": "its machine is lost",
    "OOM": "its machine ran out of memory",
    "ModuleNotFoundError": "Darkroom, or a library that it needs, is not installed there",
}
"""What Ray says of a death → a few words."""


@dataclass
class Post:
    """A member and what it does."""

    place: Place
    actor: Any
    call: Any
    """The reply that is awaited; None: it is free."""
    facts: Facts | None = None
    """None while it loads the model."""
    doing: Work | None = None


@dataclass
class Crew:
    """As many members as the cluster has places, or as are wanted."""

    arguments: tuple[Any, ...]
    """Of each `Member`."""
    versions: Mapping[str, str]
    uses_gpus: Callable[[Iterable[Place]], bool]
    """Whether members need GPUs, on a cluster of these machines."""
    wanted: int | None
    lost: Callable[[Facts], None]
    """Called for a member that has died: its claims are released."""
    say: Callable[[str], None]
    posts: list[Post] = field(default_factory=list[Post])
    refused: dict[str, DarkroomError] = field(default_factory=dict[str, DarkroomError])
    """Machine → why it takes no part."""
    _looked: float = -LOOK_SECONDS
    _deaths: Counter[str] = field(default_factory=Counter[str])
    """Machine → members that died there since one finished a work."""
    _announced: set[str] = field(default_factory=set[str])

    @property
    def num_free(self) -> int:
        """Members that wait for work."""
        return len(self._free)

    @property
    def _free(self) -> list[Post]:
        return [post for post in self.posts if post.facts and post.call is None]

    @property
    def works(self) -> set[Work]:
        """What members are at."""
        return {post.doing for post in self.posts if post.doing}

    def give(self, work: Work, name: str, message: str, *, patient: bool) -> None:
        """Let a free member do this."""
        post = self._free[0]
        post.doing = work
        post.call = post.actor.take.remote(work, name, message, patient=patient)

    def tend(self) -> None:
        """Place members on machines with room for them.

        Raises:
            DarkroomError: every machine refuses, with the first reason; or none has the GPU that is needed.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        places = places_of_cluster()
        gpus = self.uses_gpus(places)
        if gpus and not any(place.num_gpus for place in places):
            raise DeviceError(
                "no machine of the cluster has a GPU", "give a cluster with GPUs, or evaluation.device=cpu"
            )
        for place in allotted(places, self._taken(), self.refused, self.wanted, gpus=gpus):
            self._place(place, gpus=gpus)
        if self.refused and not self.posts and all(place.node in self.refused for place in places):
            raise next(iter(self.refused.values()))

    def wait(self, seconds: float) -> list[News]:
        """What members have done within this time, as soon as one has done something."""
        calls = {post.call: post for post in self.posts if post.call is not None}
        if not calls:
            time.sleep(seconds)
            return []
        done, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not done:
            done, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
        return [news for call in done if (news := self._heard(calls[call]))]

    def close(self) -> None:
        """End every member."""
        leaving = [post.actor.leave.remote() for post in self._free]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_SECONDS)
        for post in self.posts:
            ray.kill(post.actor)
        self.posts.clear()

    def _taken(self) -> Counter[str]:
        return Counter(post.place.node for post in self.posts)

    def _place(self, place: Place, *, gpus: bool) -> None:
        where = NodeAffinitySchedulingStrategy(place.node, soft=False)
        needs = {"num_cpus": 0 if gpus else 1, "num_gpus": 1 if gpus else 0}
        remote: Any = ray.remote(Member)
        actor = remote.options(scheduling_strategy=where, max_restarts=0, **needs).remote(*self.arguments)
        self.posts.append(Post(place, actor, actor.prepare.remote(dict(self.versions))))

    def _heard(self, post: Post) -> News | None:
        call, work, post.call, post.doing = post.call, post.doing, None, None
        try:
            reply: Any = ray.get(call, timeout=LEAVE_SECONDS)
        except RayActorError as error:
            return self._died(post, work, why_it_died(error))
        except (RayError, GetTimeoutError) as error:
            ray.kill(post.actor)
            return self._died(post, work, _last_line(error))
        if isinstance(reply, Refusal):
            self.posts.remove(post)
            ray.kill(post.actor)
            self._refuse(post.place, reply.error)
        elif isinstance(reply, Facts):
            post.facts = reply
            log.info("an evaluator on %s, pid %d, device %s", reply.host, reply.pid, reply.device)
            self._compare_devices()
        elif work:
            self._deaths.pop(post.place.node, None)
            return News(work, post.place.name, reply)
        return None

    def _died(self, post: Post, work: Work | None, reason: str) -> News | None:
        self.posts.remove(post)
        if post.facts:
            self.lost(post.facts)
        self._looked = -LOOK_SECONDS
        if self._is_up(post.place):
            self._deaths[post.place.node] += 1
            if self._deaths[post.place.node] >= MAX_DEATHS:
                text = f"its evaluators died {MAX_DEATHS} times in a row: {reason}"
                self._refuse(post.place, ModelError(text, "look into the log of that evaluator in the run folder"))
        if work is None and post.facts is None:
            log.warning("an evaluator on %s could not begin: %s", post.place.name, reason)
        return News(work, post.place.name, None, reason) if work else None

    def _is_up(self, place: Place) -> bool:
        return any(one.node == place.node for one in places_of_cluster())

    def _refuse(self, place: Place, error: DarkroomError) -> None:
        self.refused[place.node] = type(error)(f"{place.name} takes no part: {error}", error.hint)
        self.say(f"{place.name} takes no part: {error}")

    def _compare_devices(self) -> None:
        kinds = {post.facts.device for post in self.posts if post.facts}
        text = f"evaluators on unlike devices ({', '.join(sorted(kinds))}): their numbers may differ in the last digits"
        if len(kinds) > 1 and text not in self._announced:
            self._announced.add(text)
            self.say(text)


def places_of_cluster() -> list[Place]:
    """The machines that are alive, in the order of their names."""
    found: list[Place] = []
    for node in ray.nodes():
        if node["Alive"]:
            resources = node["Resources"]
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            found.append(Place(node["NodeID"], name, int(resources.get("GPU", 0)), int(resources.get("CPU", 0))))
    return sorted(found, key=lambda place: (place.name, place.node))


def why_it_died(error: RayActorError) -> str:
    """In a few words, without Ray's lists of ids."""
    text = str(error)
    return next((words for mark, words in CAUSES.items() if mark in text), "its process ended")


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
