"""Runs jobs in worker processes of this machine, each with a model of its own."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Generic

from g2is.engine.job import AnyJob
from g2is.engine.process import Process, start
from g2is.engine.worker import Notice, Open
from g2is.errors import G2isError, StoreError, TooLittleMemoryError, WorkerError, first_line

_MOST_TRIES = 3  # of a job, and of a process that ends before it has done any
_MOST_IN_A_ROW = 10  # jobs of a process's share that fail one after the other: then it is no longer the jobs


class FailedJobsError(WorkerError):
    """Jobs that failed whenever they were tried, with the reasons, when all others of the run are stored."""

    def __init__(self, reasons: dict[Any, str]) -> None:
        """`reasons` by job."""
        super().__init__("; ".join(f"{job}: {reason}" for job, reason in reasons.items()))
        self.reasons = reasons


def fails_again(error: Exception) -> bool:
    """Whether a job that raised it would do so wherever it is tried: what the user can mend, but for what was short."""
    return isinstance(error, G2isError) and not isinstance(error, TooLittleMemoryError | WorkerError)


@dataclass
class _Slot:
    """A place for one process: its successors open with the same."""

    open: Open
    environment: dict[str, str]
    process: Process | None = None
    vain: int = 0  # processes in a row that ended with no job in hand and none stored
    reason: str = ""  # of the last one's end


@dataclass
class Processes:
    """Worker processes that serve one run of jobs after the other.

    Each has as many jobs in hand as it does `at_once`, so one that dies loses at most these. It is replaced, and its
    jobs are dealt again. A job in hand at three deaths, or that raised three errors, is given up: from its first
    failure on it is dealt alone, so that it is known whose doing it was. One that `fails_again` is given up at once.
    """

    slots: list[_Slot]
    notice: Notice
    at_once: int
    stored: bool = False  # anything, by any process
    failures: int = 0  # of jobs and processes, since something was stored
    said: set[str] = field(default_factory=set)

    def run(self, jobs: Iterable[AnyJob], add: Callable[[int], None]) -> Iterator[AnyJob]:
        """As every `Engine`; `add` is told of tokens done, and of fewer than none where some were lost.

        Raises FailedJobsError at the end where jobs had to be given up, WorkerError where no process can work,
        StoreError as soon as something cannot be stored.
        """
        dealt = _Deal(jobs, len(self.slots), self.at_once)
        while True:
            for slot in self.slots:
                self._fill(slot, dealt)
            busy = [slot for slot in self.slots if slot.process is not None and slot.process.in_hand]
            opening = [slot for slot in self.slots if slot.process is not None and not slot.process.ready]
            if dealt.is_empty and not busy:
                break
            if not busy and not opening:
                raise WorkerError(
                    f"expected worker processes that work, found none left: {self.slots[-1].reason}. What is stored is"
                    " kept: the same command goes on from here"
                )
            slots = {slot.process.connection: slot for slot in self.slots if slot.process is not None}
            told: list[Any] = wait(list(slots))
            for connection in told:
                yield from self._hear(slots[connection], dealt, add)
        if dealt.given_up:
            raise FailedJobsError(dealt.given_up)

    def _fill(self, slot: _Slot, dealt: "_Deal[AnyJob]") -> None:
        """See to it that there is a process with enough in hand, as far as there are jobs."""
        if slot.vain >= _MOST_TRIES or (slot.process is None and dealt.is_empty):
            return
        if slot.process is None:
            slot.process = start(slot.open, slot.environment, self.at_once)
        process = slot.process
        while process.ready and (job := dealt.next(process)) is not None:
            process.send(job)

    def _hear(self, slot: _Slot, dealt: "_Deal[AnyJob]", add: Callable[[int], None]) -> Iterator[AnyJob]:
        process = slot.process
        assert process is not None
        try:
            kind, *what = process.connection.recv()
        except (EOFError, OSError):
            self._died(slot, process.died(), dealt, add)
            return
        if kind == "ready":
            process.ready = True
        elif kind == "tokens":
            number, num_tokens = what
            process.tokens[number] += num_tokens
            add(num_tokens)
        elif kind == "notice":
            self._say(what[0])
        elif kind == "stored":
            self.stored, self.failures, slot.vain = True, 0, 0
            yield process.done(what[0])
        elif what[0] is None:
            self._cannot_open(slot, dealt, *what[1:])
        else:
            self._failed(slot, dealt, add, *what)

    def _failed(
        self, slot: _Slot, dealt: "_Deal[AnyJob]", add: Callable[[int], None], number: int, error: Exception, trace: str
    ) -> None:
        """A job raised an error."""
        process = slot.process
        assert process is not None
        if not isinstance(error, G2isError):
            error.add_note(f"in a worker process:\n{trace}")
        if isinstance(error, StoreError | OSError):
            raise error  # what keeps one from being stored keeps all
        add(-process.tokens[number])
        job = process.done(number)
        if fails_again(error):
            dealt.given_up[job] = first_line(error)
        else:
            dealt.strike(job, first_line(error))
        self._count(error, dealt)
        if not isinstance(error, G2isError):  # a bug, or a device that answers nothing any more
            self._say(f"a worker process is replaced after an error of its own:\n{trace}")
            self._take_back(slot, dealt, add)
            process.end()

    def _died(self, slot: _Slot, how: str, dealt: "_Deal[AnyJob]", add: Callable[[int], None]) -> None:
        process = slot.process
        assert process is not None
        in_hand = list(process.in_hand.values())
        what = f"while it made {' and '.join(map(str, in_hand))}" if in_hand else "before it had anything to make"
        self._say(f"a worker process ended {what} ({how}); another one takes its place")
        for job in in_hand:
            add(-process.tokens[job.number])
            dealt.strike(process.done(job.number), f"the process that made it ended ({how})")
        slot.process, slot.reason = None, how
        slot.vain += not in_hand
        self._count(
            WorkerError(
                f"expected worker processes that work, found that one after the other ends before it has"
                f" stored anything ({how}). Where memory is short, give fewer --workers; with --workers 1 this process"
                " works alone"
            ),
            dealt,
        )

    def _cannot_open(self, slot: _Slot, dealt: "_Deal[AnyJob]", error: Exception, trace: str) -> None:
        assert slot.process is not None
        slot.process.end()
        slot.process, slot.reason = None, str(error)
        if not isinstance(error, G2isError):
            error.add_note(f"in a worker process:\n{trace}")
        elif not self.stored:
            raise error
        slot.vain += 1
        self._say(f"a worker process could not begin: {error if isinstance(error, G2isError) else trace}")
        self._count(error, dealt)

    def _take_back(self, slot: _Slot, dealt: "_Deal[AnyJob]", add: Callable[[int], None]) -> None:
        process = slot.process
        assert process is not None
        for number in list(process.in_hand):
            add(-process.tokens[number])
            dealt.put_back(process.done(number))
        slot.process = None

    def _count(self, error: Exception, dealt: "_Deal[AnyJob]") -> None:
        """Give up with `error` where whatever is tried fails, although each for the first time."""
        self.failures += 1
        most = _MOST_IN_A_ROW if self.stored else _MOST_TRIES
        if self.failures >= most * len(self.slots) and dealt.has_untried:
            raise error

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.notice(text)

    def end(self) -> None:
        """End all processes at once."""
        for slot in self.slots:
            if slot.process is not None:
                slot.process.end()
                slot.process = None


class _Deal(Generic[AnyJob]):
    """The jobs that are still to be dealt: those that failed before come last, and alone."""

    def __init__(self, jobs: Iterable[AnyJob], num_processes: int, at_once: int) -> None:
        self._jobs = iter(jobs)
        self._num_processes, self._at_once = num_processes, at_once
        self._ahead: deque[AnyJob] = deque()
        self._again: deque[AnyJob] = deque()
        self._strikes: Counter[int] = Counter()
        self.given_up: dict[AnyJob, str] = {}
        self._look_ahead()

    @property
    def is_empty(self) -> bool:
        """Whether none is left."""
        return not self._ahead and not self._again

    @property
    def has_untried(self) -> bool:
        """Whether some are left that never failed."""
        return bool(self._ahead)

    def next(self, process: Process) -> AnyJob | None:
        """A job for a process that is ready; None where it has enough, or others should have what is left."""
        if not process.in_hand:
            if not self._ahead:
                return self._again.popleft() if self._again else None
        elif (
            len(process.in_hand) >= self._at_once
            or len(self._ahead) <= self._num_processes  # the last are for those who have none
            or any(self._strikes[number] for number in process.in_hand)
        ):
            return None
        job = self._ahead.popleft()
        self._look_ahead()
        return job

    def put_back(self, job: AnyJob) -> None:
        """Have a job dealt that came back through no fault of its own."""
        (self._again if self._strikes[job.number] else self._ahead).append(job)

    def strike(self, job: AnyJob, reason: str) -> None:
        """Have a job dealt that may have failed by itself, unless it did so too often."""
        self._strikes[job.number] += 1
        if self._strikes[job.number] >= _MOST_TRIES:
            self.given_up[job] = reason
        else:
            self._again.append(job)

    def _look_ahead(self) -> None:
        while len(self._ahead) <= self._num_processes:
            try:
                self._ahead.append(next(self._jobs))
            except StopIteration:
                return


@dataclass(frozen=True)
class ProcessEngine:
    """Does jobs in `processes`; `add` is told of tokens done."""

    processes: Processes
    add: Callable[[int], None]

    def run(self, jobs: Iterable[AnyJob]) -> Iterator[AnyJob]:
        """As `Processes.run`."""
        return self.processes.run(jobs, self.add)


@contextmanager
def open_processes(
    opens: Sequence[tuple[Open, dict[str, str]]], notice: Notice, at_once: int = 2
) -> Iterator[Processes]:
    """Processes that open as `opens` say, each with an environment beside this one's; started with the first jobs.

    `notice` is told, once, what each has to say. Each does so many jobs `at_once`: of shards two, one of which is read
    or written while the other is computed. They end with this context, whatever they are at.
    """
    processes = Processes([_Slot(*of) for of in opens], notice, at_once)
    try:
        yield processes
    finally:
        processes.end()
