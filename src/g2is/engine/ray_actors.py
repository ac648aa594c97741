"""The actors of a Ray cluster at work: who gets which job, and what becomes of one whose actor ended.

Ray starts an actor again that ended, on another node if need be. Its own retries of calls (`max_task_retries`) serve
where it only says where it runs: a job that was tied to an actor would wait for a place until there is a node again,
while others have nothing to do. So a job whose actor ended goes to whoever is free first, and each has one job at a
time: that is the back-pressure. The way to the driver and back takes milliseconds, a job seconds or hours.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic

from g2is.engine.job import AnyJob
from g2is.engine.processes import FailedJobsError, fails_again
from g2is.engine.ray_actor import Told
from g2is.engine.worker import Notice
from g2is.errors import G2isError, StoreError, WorkerError, first_line

_MOST_TRIES = 3  # of a job, and of opening an actor
_SECONDS_BETWEEN_LOOKS = 2.0  # at the tokens done
_SECONDS_WITHOUT_A_PLACE = 30.0  # until it is said that no actor has one
_SECONDS_TO_END = 10.0


@dataclass(eq=False)
class Member:
    """An actor and what it is at: it is placed, it opens, it makes a job; or it is ready and has none."""

    actor: Any
    node: str = ""  # Ray's id of it, "" until it is placed
    host: str = ""
    ready: bool = False
    job: Any = None
    tokens: int = 0  # of the job, that were told of
    vain: int = 0  # times in a row that it ended while it opened


@dataclass
class Actors:
    """The actors of one command, which serve one run of jobs after the other.

    `ray` is the module, connected to a cluster; `node_id`, called in an actor, gives the id of the node it runs on.
    """

    ray: Any
    node_id: Callable[[], str]
    members: list[Member]
    notice: Notice
    said: set[str] = field(default_factory=set)
    calls: dict[Any, Member] = field(default_factory=dict)  # by Ray's reference to what will come of them
    looks: dict[Any, Member] = field(default_factory=dict)
    refusal: Exception | None = None  # why the last one that was given up could not work
    began: float = field(default_factory=time.monotonic)
    looked: float = 0.0

    def run(self, jobs: Iterable[AnyJob], add: Callable[[int], None]) -> Iterator[AnyJob]:
        """As every `Engine`; `add` is told of tokens done, and of fewer than none where some were lost.

        Raises FailedJobsError at the end where jobs had to be given up, WorkerError where no actor can work,
        StoreError as soon as something cannot be stored.
        """
        dealt = _Deal(jobs, self._is_there)
        while self._deal(dealt):
            if not self.calls:
                raise self.refusal or WorkerError("expected an actor that works, found none left")
            for call in self._wait():
                if call in self.looks:
                    with suppress(self.ray.exceptions.RayError):  # it ended: what it works on says so, too
                        self._hear(self.looks.pop(call), self.ray.get(call), add)
                    continue
                member = self.calls.pop(call)
                if member.job is None:
                    self._go_on(member, call)
                elif self._is_made(member, call, dealt, add):
                    job, member.job = member.job, None
                    yield job
        if dealt.given_up:
            raise FailedJobsError(dealt.given_up)

    def _deal(self, dealt: "_Deal[AnyJob]") -> bool:
        """Give each actor that has none a job; whether there is anything left to wait for."""
        for member in self.members:
            if member.ready and member.job is None and (job := dealt.next()) is not None:
                member.job, member.tokens = job, 0
                self.calls[member.actor.make.remote(job)] = member
        return not dealt.is_empty or any(member.job is not None for member in self.members)

    def _wait(self) -> list[Any]:
        """What has come of calls, waiting a little; asks those at work how far they are, now and then."""
        now = time.monotonic()
        if now - self.looked > _SECONDS_BETWEEN_LOOKS:
            self.looked = now
            asked = set(self.looks.values())
            for member in self.members:
                if member.job is not None and member not in asked:
                    self.looks[member.actor.told.options(concurrency_group="watch").remote()] = member
        if now - self.began > _SECONDS_WITHOUT_A_PLACE and not any(member.node for member in self.members):
            self._say(
                f"none of {len(self.members)} workers runs yet: Ray has no place for them, or starts them still (`ray"
                " status` shows what they ask for and what there is). It goes on as soon as one runs"
            )
        found, _ = self.ray.wait([*self.calls, *self.looks], timeout=_SECONDS_BETWEEN_LOOKS, fetch_local=False)
        return list(found)

    def place(self, member: Member) -> None:
        """Wait for an actor to run, again if it ran before, wherever Ray has a place for it."""
        member.node, member.ready, member.job = "", False, None
        self.calls[member.actor.where.options(max_task_retries=-1).remote(self.node_id)] = member

    def _go_on(self, member: Member, call: Any) -> None:
        """From its place to opening, from there to work; or without it, if it cannot."""
        exceptions = self.ray.exceptions
        try:
            found = self.ray.get(call)
        except exceptions.RayTaskError as error:
            self._give_up(member, error.cause if isinstance(error.cause, G2isError) else error)
        except exceptions.RayError as error:
            member.vain += bool(member.node)
            if not member.node or member.vain == _MOST_TRIES:
                self._give_up(member, _cannot_start(member, error))
            else:
                self.place(member)
        else:
            if member.node:
                self._hear(member, found, lambda _: None)
                member.ready, member.vain = True, 0
            else:
                member.node, member.host, _ = found
                self.calls[member.actor.open.remote()] = member

    def _give_up(self, member: Member, reason: Exception) -> None:
        self.refusal = reason
        self.members.remove(member)
        self.ray.kill(member.actor)
        if self.members:
            self._say(f"a worker is left out: {reason if isinstance(reason, G2isError) else first_line(reason)}")

    def _is_made(self, member: Member, call: Any, dealt: "_Deal[AnyJob]", add: Callable[[int], None]) -> bool:
        """Whether the job is done and stored; if not, it is dealt again or given up."""
        job, exceptions = member.job, self.ray.exceptions
        assert job is not None
        try:
            self._hear(member, self.ray.get(call), add)
            return True
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, StoreError | OSError):
                raise cause from None  # what keeps one from being stored keeps all
            if fails_again(cause):
                dealt.given_up[job] = first_line(cause)
            else:
                dealt.strike(job, first_line(cause))
            if isinstance(cause, G2isError):
                member.job = None
            else:  # a bug, or a device that answers nothing any more
                self._say(f"a worker on node {member.host} is started again after an error of its own:\n{error}")
                self.ray.kill(member.actor, no_restart=False)
                self.place(member)
        except exceptions.RayError:
            self._say(
                f"a worker on node {member.host} ended while it was at work; another does that, and Ray starts the"
                " worker again where there is a place"
            )
            dealt.strike(job, "the worker that made it ended", member.node)
            self.place(member)
        add(-member.tokens)
        return False

    def _hear(self, member: Member, told: Told, add: Callable[[int], None]) -> None:
        number, num_tokens, notices = told
        for text in notices:
            self._say(text)
        if member.job is not None and number == member.job.number:
            add(num_tokens - member.tokens)
            member.tokens = num_tokens

    def _is_there(self, node: str) -> bool:
        return any(of["NodeID"] == node and of["Alive"] for of in self.ray.nodes())

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.notice(text)

    def end(self) -> None:
        """End all actors at once, and wait until those at work have ended: the store is to be free then."""
        for member in self.members:
            self.ray.kill(member.actor)
        if at_work := [call for call, member in self.calls.items() if member.job is not None]:
            self.ray.wait(at_work, num_returns=len(at_work), timeout=_SECONDS_TO_END, fetch_local=False)


class _Deal(Generic[AnyJob]):
    """The jobs that are still to be dealt; those that came back first."""

    def __init__(self, jobs: Iterable[AnyJob], is_there: Callable[[str], bool]) -> None:
        """Deal `jobs`; `is_there` says whether a node is still part of the cluster."""
        self._jobs = iter(jobs)
        self._is_there = is_there
        self._back: deque[AnyJob] = deque()
        self._strikes: dict[AnyJob, list[str]] = {}
        self.given_up: dict[AnyJob, str] = {}
        self._ahead()

    @property
    def is_empty(self) -> bool:
        """Whether none is left."""
        return not self._back

    def next(self) -> AnyJob | None:
        """The next job, if there is one left."""
        job = self._back.popleft() if self._back else None
        self._ahead()
        return job

    def strike(self, job: AnyJob, reason: str, ended_on: str = "") -> None:
        """Have a job dealt again that may have failed by itself, unless it did so too often.

        One whose worker `ended_on` a node that is gone since was not at fault; of the last one it may not be known yet.
        """
        strikes = self._strikes.setdefault(job, [])
        strikes.append(ended_on)
        if sum(not node or self._is_there(node) for node in strikes) >= _MOST_TRIES:
            self.given_up[job] = reason
        else:
            self._back.appendleft(job)

    def _ahead(self) -> None:
        if not self._back and (job := next(self._jobs, None)) is not None:
            self._back.append(job)


def _cannot_start(member: Member, error: Exception) -> WorkerError:
    if not member.node and "g2is" in str(error) and "No module named" in str(error):
        return WorkerError(
            "expected g2is on every node that Ray starts a worker on, found one without. Install the same version on"
            " all nodes, in the environment that Ray runs in"
        )
    if member.node:
        return WorkerError(
            f"node {member.host}: expected a worker that opens the model, found that its process ended {_MOST_TRIES}"
            " times while it did. Where memory is short, give fewer --workers or ask for more a worker"
            f" (--worker-resources); Ray's logs on that node say more ({first_line(error)})"
        )
    return WorkerError(f"expected Ray to start a worker, found that it cannot: {first_line(error)}")
