"""How much memory real tensors hold at most while something is done, counted by torch's own dispatch."""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class HeldMemory(TorchDispatchMode):
    """While it is entered, `peak` is the most bytes that tensors held at once, of those `before` and of all new ones.

    What a kernel takes for itself while it runs is not seen.
    """

    def __init__(self, before: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._seen: Any = WeakIdKeyDictionary()
        for tensor in before:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        return made

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if tensor.is_meta or storage in self._seen:
            return
        self._seen[storage] = True
        size = storage.nbytes()
        weakref.finalize(storage, self._forget, size)
        self._now += size
        self.peak = max(self.peak, self._now)

    def _forget(self, size: int) -> None:
        self._now -= size
