"""Two devices on a machine that has none: tensors of main memory that say they lie on one of two, and refuse to meet.

The numbers are real, and so are autograd and accelerate's hooks: only where a tensor lies is made up. An operation on
tensors of both devices, or of one and main memory, raises what torch raises on real ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import accelerate
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from g2is.model.devices import is_spread, leave_positions

FIRST, SECOND = torch.device("lazy:0"), torch.device("lazy:1")  # a kind that torch asks nothing of before it is used
_ATEN = torch.ops.aten
_MOVES = {_ATEN._to_copy.default, _ATEN.copy_.default}
_INDEXES = {_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default}  # by places in main memory too


class Placed(torch.Tensor):
    """A tensor that says it lies on `place`."""

    numbers: torch.Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, inner: torch.Tensor, place: torch.device) -> "Placed":
        made: Placed = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device("cpu"),
            dispatch_device=True,
        )
        made.numbers, made.place = inner, place
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Placed({self.numbers}, {self.place})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Mode(TorchDispatchMode):
    """What makes tensors on these devices, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Numbers(TorchFunctionMode):
    """What makes tensors of plain numbers on these devices: torch itself would ask them for memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        place = torch.device(kwargs.get("device") or "cpu")
        if func is torch.tensor and place.type == FIRST.type:
            return func(*args, **{**kwargs, "device": "cpu"}).to(place)
        return func(*args, **kwargs)


@contextmanager
def two_devices() -> Iterator[None]:
    """Within this there are two devices, `FIRST` and `SECOND`."""
    of_kind = SimpleNamespace(_initialized=False)  # asked by torch.utils.checkpoint: no random numbers of its own
    asks = torch.is_autocast_enabled
    never = mock.patch.object(torch, "is_autocast_enabled", lambda *kind: kind != (FIRST.type,) and asks(*kind))
    with mock.patch.object(torch, FIRST.type, of_kind, create=True), never, _Mode(), _Numbers():
        yield


def on_first(model: Any) -> Any:
    """All of a Llama's kin with an adapter, loaded before, on one of the two devices."""
    base = _by_plain_code(model)
    _put_rounded(base, {"": FIRST})
    accelerate.dispatch_model(base, {"": FIRST}, force_hooks=True)
    return model


def over_two(model: Any) -> Any:
    """The embedding and the first half of its blocks on one device, all else on the other."""
    base = _by_plain_code(model)
    half = (len(base.model.layers) + 1) // 2
    places = {"model.embed_tokens": FIRST, "model.rotary_emb": FIRST, "model.norm": SECOND}
    places |= {f"model.layers.{i}": FIRST if i < half else SECOND for i in range(len(base.model.layers))}
    places["lm_head"] = FIRST if base.config.tie_word_embeddings else SECOND  # one tensor lies on one device
    _put_rounded(base, places)
    accelerate.dispatch_model(base, places, main_device=FIRST, skip_keys=["past_key_values"])
    leave_positions(base)
    assert is_spread(model)
    return model


def _by_plain_code(model: Any) -> Any:
    base = model.get_base_model()
    base.set_attn_implementation("eager")  # no kernels of these devices
    return base


def _put_rounded(base: nn.Module, places: dict[str, torch.device]) -> None:
    """Put rounded weights, with their scales, where `places` say: tensors of a class of their own, which these are not.

    On real devices they are made where they are to lie.
    """
    for path, layer in base.named_modules():
        if type(layer).__name__ not in ("Linear4bit", "Linear8bitLt"):
            continue
        place = next(of for start, of in places.items() if not start or path.startswith(f"{start}."))
        weight: Any = layer.weight
        moved: Any = nn.Parameter(weight.data.to(place), requires_grad=False)
        if type(layer).__name__ == "Linear4bit":
            state = moved.quant_state = weight.quant_state
            while state is not None:
                for name, of in vars(state).items():
                    if isinstance(of, torch.Tensor):
                        setattr(state, name, of.to(place))
                state = getattr(state, "state2", None)
        else:
            moved.SCB = weight.SCB.to(place)
        layer._parameters["weight"] = moved


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.prim.device.default:
        return args[0].place
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with _Mode():  # in inference mode nothing has taken it apart yet
            return func.decompose(*args, **kwargs)
    asked = kwargs.pop("device", None)
    tensors = [of for of in tree_leaves((args, kwargs)) if isinstance(of, torch.Tensor)]
    placed = [of for of in tensors if isinstance(of, Placed)]
    if func not in _MOVES:
        _check_together(func, tensors, placed)
    place = torch.device(asked) if asked is not None else _place_of(func, args, placed)
    made = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.is_mutable:  # what was written to is what is returned
        return args[0] if isinstance(made, torch.Tensor) else made
    if place is None or place.type == "cpu":
        return made
    return tree_map(lambda of: Placed(of, place) if isinstance(of, torch.Tensor) else of, made)


def _check_together(func: Any, tensors: list[torch.Tensor], placed: list[Placed]) -> None:
    places = {of.place for of in placed if of.dim()}
    beside = [of for of in tensors if not isinstance(of, Placed) and of.dim()]
    if len(places) > 1 or (placed and beside and func not in _INDEXES):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found {sorted(map(str, places))}"
            f"{' and cpu' if beside else ''} in {func}"
        )


def _place_of(func: Any, args: Any, placed: list[Placed]) -> torch.device | None:
    if func in _MOVES:
        return args[0].place if isinstance(args[0], Placed) else None
    return next((of.place for of in sorted(placed, key=lambda of: not of.dim())), None)


def _inner(of: Any) -> Any:
    return of.numbers if isinstance(of, Placed) else of
