"""Rendering in several processes: the same rows, problems and order as in one, with a few batches under way at a time.

Reading is a tenth of the work and stays in this process; templates are Python, and take most of the rest.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue

from g2is.errors import G2isError
from g2is.examples.problems import BadRow, Problems
from g2is.examples.read import Example
from g2is.examples.sources import Source
from g2is.examples.tokenize import Rendered, Renderer

WORTH_IT = 2**25  # bytes of files: less is rendered here before other processes have begun
_MOST = 16  # processes
_here = threading.Lock()  # a tokenizer serves one thread at a time

Found = list[Rendered | G2isError]
_RenderMany = Callable[[Sequence[Example]], Found]


class LaterProblems:
    """What a reader finds wrong, kept until the rows before it are rendered: reading is ahead."""

    def __init__(self) -> None:
        self._waiting: list[BadRow | G2isError] = []

    def add(self, row: BadRow) -> None:
        """Note a bad row."""
        self._waiting.append(row)

    def add_file(self, problem: G2isError) -> None:
        """Note a file that cannot be read."""
        self._waiting.append(problem)

    def hand_over(self) -> list[BadRow | G2isError]:
        """What was noted since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting


def pass_on(found: Iterable[BadRow | G2isError], problems: Problems) -> None:
    """Note in `problems` what was `found` before."""
    for each in found:
        if isinstance(each, BadRow):
            problems.add(each)
        else:
            problems.add_file(each)


def num_processes(num_bytes: int) -> int:
    """How many processes render files of `num_bytes`: one for each processor that this one may use, if it is worth it.

    1: this one alone.
    """
    try:
        num = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        num = os.cpu_count() or 1
    return min(num, _MOST) if num_bytes >= WORTH_IT else 1


def rendered_in_order(
    batches: Iterator[list[Example]], later: LaterProblems, renderer: Renderer, num: int
) -> Generator[tuple[list[Example], list[BadRow | G2isError], Found], None, None]:
    """Yield each batch, what was found wrong while it was read, and what its examples are rendered to.

    With `num` above 1 as many processes render, and at most that many batches and one more are held. What reading
    raises comes after all batches before it. A process that cannot be started or dies leaves its work to this one.
    """
    with _renderers(renderer, num) as (submit, most):
        under_way: deque[tuple[list[Example], list[BadRow | G2isError], Future[Found] | None]] = deque()
        error: Exception | None = None
        ended = False
        while not ended or under_way:
            while not ended and len(under_way) < most:
                batch: list[Example] = []
                try:
                    batch = next(batches)
                except StopIteration:
                    ended = True
                except Exception as raised:
                    ended, error = True, raised
                under_way.append((batch, later.hand_over(), submit(batch) if batch else None))
            batch, found, future = under_way.popleft()
            yield batch, found, [] if future is None else future.result()
        if error is not None:
            raise error


@contextmanager
def _renderers(renderer: Renderer, num: int) -> Iterator[tuple[Callable[[Sequence[Example]], "Future[Found]"], int]]:
    """What hands a batch to whoever is free, and how many batches may be under way."""
    with ExitStack() as stack:
        if num == 1:
            yield lambda batch: _done(renderer.render_many, batch), 1
            return
        free: SimpleQueue[_RenderMany] = SimpleQueue()
        for process in [stack.enter_context(_Process(renderer)) for _ in range(num)]:
            free.put(process.render_many)
        threads = stack.enter_context(ThreadPoolExecutor(num))

        def render(batch: Sequence[Example]) -> Found:
            render_many = free.get()
            try:
                return render_many(batch)
            finally:
                free.put(render_many)

        try:
            yield lambda batch: threads.submit(render, batch), num + 1
        finally:
            threads.shutdown(cancel_futures=True)


def _done(render_many: _RenderMany, batch: Sequence[Example]) -> "Future[Found]":
    future: Future[Found] = Future()
    future.set_result(render_many(batch))
    return future


class _Process:
    """A process with a renderer of its own (`render_process.py`), to be asked by one thread at a time."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._process: subprocess.Popen[bytes] | None = None
        self._has_begun = False
        self._origins: dict[int, Source] = {}

    def __enter__(self) -> "_Process":
        # not by multiprocessing, which runs a user's script again, or forks a process that has threads
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"}
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "g2is.examples.render_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self

    def __exit__(self, *error: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def render_many(self, examples: Sequence[Example]) -> Found:
        """As the renderer does, and by it, if the process cannot."""
        if self._process is not None:
            try:
                if not self._has_begun and self._ask(self._renderer) != self._renderer.fingerprint:
                    raise EOFError  # its files have changed since
                self._has_begun = True
                found = self._ask([self._bare(example) for example in examples])
            except (OSError, EOFError, pickle.PickleError, AttributeError, TypeError):
                self.__exit__()
            else:
                if isinstance(found, Exception):
                    raise found
                assert isinstance(found, list)
                return found
        with _here:
            return self._renderer.render_many(examples)

    def _ask(self, value: object) -> object:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        process.stdin.flush()
        return pickle.load(process.stdout)

    def _bare(self, example: Example) -> Example:
        """The example without its bytes, and without the dataset it is of."""
        origin = self._origins.setdefault(id(example.origin), replace(example.origin, dataset=None))
        return replace(example, raw=b"", origin=origin)
