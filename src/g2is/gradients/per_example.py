"""Per-example gradients, many examples at a time, equal to a loop of single-example autograd.

A linear layer y = xWᵀ + b that sees example e's T inputs x (T, i) and output gradients δ (T, o) has, for that example
alone, the weight gradient δᵀx and the bias gradient Σδ. Examples of a batch do not mix in the forward pass, so one
backward pass of the summed losses delivers every example's δ. Each layer's gradient exists only while it is handed out,
and by pieces where it is large (`pieces.py`): of an adapter it is small, of all weights it is not.

Shapes: B examples, T tokens, i and o the layer's inputs and outputs, V the vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from g2is.gradients.pieces import Piece, cut
from g2is.model.batches import Batch
from g2is.model.layers import is_transposed
from g2is.model.losses import example_losses
from g2is.model.parameters import trainable_parameters, without_gradient

Sink = Callable[[str, torch.Tensor, Piece], None]
Products = Callable[[str, torch.Tensor, torch.Tensor], None]


class UnbatchableError(Exception):
    """A layer whose inputs cannot be told apart by example; `single_example_gradients` can still be used."""


def per_example_gradients(
    model: nn.Module, batch: Batch, sink: Sink, most_bytes: int | None = None, products: Products | None = None
) -> torch.Tensor:
    """Each example's gradient of its mean cross-entropy over learned tokens.

    Calls `sink(name, gradient, piece)` for every trainable parameter, in the order the backward pass reaches them, with
    the canonical name and the float32 flattened gradients of a piece: together (B, n), in the order of `pieces.cut`
    with `most_bytes`. With `products`, those of weights are not made: `products(name, left, right)` gets the factors,
    (B, T, p) and (B, T, q) for a weight (p, q). Returns the (B,) float32 losses. Put the model in eval mode: dropout
    would make the gradient random.

    Raises UnbatchableError before any backward pass where a trainable parameter does not belong to one linear layer
    alone, or where a layer's input does not keep its examples apart; ModelError where a trainable parameter gets no
    gradient.
    """
    with _collector(model, batch, sink, most_bytes, products) as go_back:
        losses = example_losses(model, batch)
        go_back(losses.sum())
    return losses.detach()


def single_example_gradients(model: nn.Module, batch: Batch, sink: Sink, most_bytes: int | None = None) -> torch.Tensor:
    """The same by autograd, one example at a time: for any layer, and the reference the batched path is tested with.

    Autograd makes a parameter's gradient whole, whatever `most_bytes` says of a piece; it is gone before the next is
    made.
    """
    parameters = trainable_parameters(model)
    losses: list[torch.Tensor] = []
    delivered: set[str] = set()

    def hand_out(name: str, parameter: torch.Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None
        b = len(losses)
        for piece in cut(1, tuple(gradient.shape), most_bytes):
            part = gradient.flatten()[None, piece.start : piece.stop]
            sink(name, part.float(), Piece(slice(b, b + 1), piece.start, piece.stop))
        delivered.add(name)

    before = {name: p.grad for name, p in parameters.items()}
    handles = [p.register_post_accumulate_grad_hook(partial(hand_out, name)) for name, p in parameters.items()]
    try:
        for p in parameters.values():
            p.grad = None
        for b in range(len(batch.input_ids)):
            real = batch.attention_mask[b].bool()
            fields = (batch.input_ids, batch.attention_mask, batch.position_ids, batch.labels)
            loss = example_losses(model, Batch(*(field[b : b + 1, real] for field in fields)))
            delivered.clear()
            loss.sum().backward()
            if unused := [name for name in parameters if name not in delivered]:
                raise without_gradient(unused)
            losses.append(loss.detach())
    finally:
        for handle in handles:
            handle.remove()
        for name, p in parameters.items():
            p.grad = before[name]
    return torch.cat(losses)


class _Kept(torch.autograd.Function):
    """Keeps a layer's input as autograd keeps what it needs: where that is computed anew, it is not held until then."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.new_empty(0)

    @staticmethod
    def backward(_: Any, *__: torch.Tensor) -> None:
        raise AssertionError("nothing is computed from it")


@contextmanager
def _collector(
    model: nn.Module, batch: Batch, sink: Sink, most_bytes: int | None, products: Products | None
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Hook every trainable linear layer for one backward pass; yields what does that, from the summed losses.

    It raises ModelError unless each parameter was handed out.
    """
    layers = _trainable_layers(model)
    modules = {path: model.get_submodule(path) for path in layers}
    goes_back = False
    num_calls = dict.fromkeys(layers, 0)
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    delivered: set[str] = set()
    size = (batch.input_ids.shape[0], batch.input_ids.shape[1])

    def before(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        # The weights are frozen below so that autograd does not also sum their gradients over the batch; a layer
        # whose input needs no gradient (the first block's) would then have no backward of its own.
        x = inputs[0]
        return (x if x.requires_grad else x.detach().requires_grad_(), *inputs[1:])

    def after(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if not output.requires_grad:  # a pass that the model itself makes without gradients (HRM's first cycles)
                return
            _by_example(inputs[0], size, path)  # refused here, before any backward pass
            if not goes_back:  # a call in the backward pass is one that is made anew (model/recompute.py)
                num_calls[path] += 1
            kept = _Kept.apply(inputs[0])  # and its output: with it, older versions of torch let go what is kept
            output.register_hook(lambda delta: collect(path, kept.grad_fn.saved_tensors[0].detach(), delta))

        return hook

    def collect(path: str, x: torch.Tensor, delta: torch.Tensor) -> None:
        seen.setdefault(path, []).append((_by_example(x, size, path), _by_example(delta, size, path)))
        if len(seen[path]) < num_calls[path]:
            return
        calls = seen.pop(path)
        x_BTi, delta_BTo = calls[0]
        if len(calls) > 1:  # a layer used more than once: Γ is not linear, so its tokens are taken together
            x_BTi, delta_BTo = (torch.cat(tokens, 1) for tokens in zip(*calls, strict=True))
        names = layers[path]
        if "weight" in names:
            of_rows, of_columns = (x_BTi, delta_BTo) if is_transposed(modules[path]) else (delta_BTo, x_BTi)
            width = of_columns.shape[2]
            if products is not None:
                products(names["weight"], of_rows, of_columns)
            for piece in cut(size[0], (of_rows.shape[2], width), most_bytes) if products is None else ():
                rows = of_rows[piece.examples, :, piece.start // width : piece.stop // width].transpose(1, 2).float()
                sink(names["weight"], torch.bmm(rows, of_columns[piece.examples].float()).flatten(1), piece)
            delivered.add(names["weight"])
        if "bias" in names:
            for piece in cut(size[0], (delta_BTo.shape[2],), most_bytes):
                sink(names["bias"], delta_BTo[piece.examples].float().sum(1), piece)
            delivered.add(names["bias"])

    def go_back(loss: torch.Tensor) -> None:
        nonlocal goes_back
        goes_back = True
        loss.backward()
        missing = [name for names in layers.values() for name in names.values() if name not in delivered]
        if missing:
            raise without_gradient(missing)

    handles = [module.register_forward_pre_hook(before) for module in modules.values()]
    handles += [module.register_forward_hook(after(path)) for path, module in modules.items()]
    frozen = [p for p in model.parameters() if p.requires_grad]
    for p in frozen:
        p.requires_grad_(False)
    try:
        yield go_back
    finally:
        for handle in handles:
            handle.remove()
        for p in frozen:
            p.requires_grad_(True)


def _trainable_layers(model: nn.Module) -> Mapping[str, dict[str, str]]:
    """Module path of each trainable linear layer -> its trainable parameters, "weight" or "bias" -> canonical name."""
    canonical = {id(p): name for name, p in trainable_parameters(model).items()}
    layers: dict[str, dict[str, str]] = {}
    owned: set[int] = set()
    for path, module in model.named_modules():
        for kind, p in module.named_parameters(recurse=False):
            if id(p) not in canonical:
                continue
            name = canonical[id(p)]
            if not _is_linear(module):
                raise UnbatchableError(f"{name} belongs to {type(module).__name__}, not to nn.Linear")
            if id(p) in owned:
                raise UnbatchableError(f"{name} belongs to {path} too, another layer")
            owned.add(id(p))
            layers.setdefault(path, {})[kind] = name
    return layers


def _is_linear(module: nn.Module) -> bool:
    """Whether its output is xWᵀ + b, or xW + b, of the parameters `weight` and `bias`, and nothing else."""
    return type(module) is nn.Linear or type(module).__name__ == "FalconLinear" or is_transposed(module)


def _by_example(x: torch.Tensor, size: tuple[int, int], path: str) -> torch.Tensor:
    """View a layer's input or output gradient as (B, T, features), also where the model flattened B and T (OPT)."""
    if x.ndim >= 3 and x.shape[0] == size[0]:
        return x.flatten(1, -2)
    if x.ndim == 2 and x.shape[0] == size[0] * size[1]:
        return x.view(*size, -1)
    raise UnbatchableError(
        f"layer {path} works on a tensor of shape {tuple(x.shape)}, in which the {size[0]} examples of {size[1]} tokens"
        " cannot be told apart"
    )
