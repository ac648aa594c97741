"""How many threads numpy and torch use while a selection passes over the pool."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

_FEWEST_BLOCKS, _MOST_BLOCKS = 4, 32  # of a stripe: fewer are not worth a thread's while, more leave threads idle
_torch_threads_lock = threading.Lock()


def over_stripes(num_rows: int, block_rows: int, work: Callable[[int, int], None]) -> None:
    """Do `work(start, stop)` for stripes of whole blocks of rows, in as many threads as torch is set to use.

    Each thread runs torch single-threaded: threads that meet at a barrier after every small block lose most of their
    time there, all of it on a machine that others use too.
    """
    with single_threaded_torch() as num_threads:
        num_blocks = -(-num_rows // block_rows)
        stripe = block_rows * min(max(-(-num_blocks // (2 * num_threads)), _FEWEST_BLOCKS), _MOST_BLOCKS)
        starts = range(0, num_rows, stripe)
        do = map if num_threads == 1 or len(starts) <= 1 else _workers(num_threads).map
        list(do(lambda start: work(start, min(start + stripe, num_rows)), starts))


@cache
def _workers(num_threads: int) -> ThreadPoolExecutor:
    # Kept from pass to pass: a thread's first product makes a BLAS find memory for it.
    return ThreadPoolExecutor(num_threads, thread_name_prefix="g2is pass")


os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


class _SingleThreadedBlas:
    """Lets numpy's BLAS use one thread while any selection is under way.

    Its threads go on spinning for some 20 ms after each product, on the very cores that the next pass needs: half of a
    walk's time (measured).
    """

    def __init__(self) -> None:
        self._lock, self._num_inside, self._num_modules = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                # finding the libraries takes milliseconds: again only where there are more modules, one of which may
                # have brought one
                if self._num_modules != len(sys.modules):
                    self._num_modules, self._controller = len(sys.modules), ThreadpoolController()
                self._limits = self._controller.limit(limits=1, user_api="blas")
            self._num_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._limits.restore_original_limits()


single_threaded_blas = _SingleThreadedBlas()


@contextmanager
def single_threaded_torch() -> Iterator[int]:
    """Lets torch use one thread; gives the number that it may use otherwise."""
    # The setting is the process's, so two walks must not save and restore it across each other.
    with _torch_threads_lock:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield num_threads
        finally:
            torch.set_num_threads(num_threads)
