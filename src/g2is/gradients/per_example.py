"""Per-example gradients of an adapter, many examples at a time, equal to a loop of single-example autograd.

A linear layer y = xWᵀ + b that sees example e's T inputs x (T, i) and output gradients δ (T, o) has, for that example
alone, the weight gradient δᵀx and the bias gradient Σδ. Examples of a batch do not mix in the forward pass, so one
backward pass of the summed losses delivers every example's δ. Each layer's gradient exists only while it is handed out.

Shapes: B examples, T tokens, i and o the layer's inputs and outputs, V the vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from g2is.model.batches import Batch
from g2is.model.losses import example_losses
from g2is.model.parameters import trainable_parameters, without_gradient

Sink = Callable[[str, torch.Tensor], None]


class UnbatchableError(Exception):
    """A layer whose inputs cannot be told apart by example; `single_example_gradients` can still be used."""


def per_example_gradients(model: nn.Module, batch: Batch, sink: Sink) -> torch.Tensor:
    """Each example's gradient of its mean cross-entropy over learned tokens.

    Calls `sink(name, gradient)` once for every trainable parameter, in the order the backward pass reaches them, with
    the canonical name and the (B, n) float32 flattened gradients. Returns the (B,) float32 losses. Put the model in
    eval mode: dropout would make the gradient random.

    Raises UnbatchableError before any backward pass where a trainable parameter does not belong to an nn.Linear, or
    where a layer's input does not keep its examples apart; ModelError where a trainable parameter gets no gradient.
    """
    with _collector(model, batch, sink) as go_back:
        losses = example_losses(model, batch)
        go_back(losses.sum())
    return losses.detach()


def single_example_gradients(model: nn.Module, batch: Batch, sink: Sink) -> torch.Tensor:
    """The same by autograd, one example at a time: for any layer, and the reference the batched path is tested with."""
    parameters = trainable_parameters(model)
    rows: list[tuple[torch.Tensor, ...]] = []
    losses = []
    for b in range(len(batch.input_ids)):
        real = batch.attention_mask[b].bool()
        fields = (batch.input_ids, batch.attention_mask, batch.position_ids, batch.labels)
        loss = example_losses(model, Batch(*(field[b : b + 1, real] for field in fields)))
        gradients = torch.autograd.grad(loss.sum(), list(parameters.values()), allow_unused=True)
        unused = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
        if unused:
            raise without_gradient(unused)
        rows.append(gradients)
        losses.append(loss.detach())
    for i, name in enumerate(parameters):
        sink(name, torch.stack([row[i].float().flatten() for row in rows]))
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
def _collector(model: nn.Module, batch: Batch, sink: Sink) -> Iterator[Callable[[torch.Tensor], None]]:
    """Hook every trainable linear layer for one backward pass; yields what does that, from the summed losses.

    It raises ModelError unless each parameter was handed out.
    """
    layers = _trainable_layers(model)
    goes_back = False
    num_calls = dict.fromkeys(layers, 0)
    partial: dict[str, tuple[int, dict[str, torch.Tensor]]] = {}
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
            kept = _Kept.apply(inputs[0]).grad_fn
            output.register_hook(lambda delta: collect(path, kept.saved_tensors[0].detach(), delta))

        return hook

    def collect(path: str, x: torch.Tensor, delta: torch.Tensor) -> None:
        x_BTi, delta_BTo = _by_example(x, size, path), _by_example(delta, size, path)
        names = layers[path]
        gradients = {}
        if "weight" in names:
            gradients["weight"] = torch.bmm(delta_BTo.transpose(1, 2).float(), x_BTi.float()).flatten(1)
        if "bias" in names:
            gradients["bias"] = delta_BTo.float().sum(1)
        if num_calls[path] > 1:  # a layer used more than once: Γ is not linear, so its parts are summed before
            num_seen, sums = partial.pop(path, (0, {}))
            gradients = {kind: gradient + sums.get(kind, 0) for kind, gradient in gradients.items()}
            if num_seen + 1 < num_calls[path]:
                partial[path] = (num_seen + 1, gradients)
                return
        for kind in list(gradients):
            sink(names[kind], gradients.pop(kind))
            delivered.add(names[kind])

    def go_back(loss: torch.Tensor) -> None:
        nonlocal goes_back
        goes_back = True
        loss.backward()
        missing = [name for names in layers.values() for name in names.values() if name not in delivered]
        if missing:
            raise without_gradient(missing)

    modules = {path: model.get_submodule(path) for path in layers}
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
    """Module path of each trainable nn.Linear -> its trainable parameters, "weight" or "bias" -> canonical name."""
    canonical = {id(p): name for name, p in trainable_parameters(model).items()}
    layers: dict[str, dict[str, str]] = {}
    for path, module in model.named_modules():
        for kind, p in module.named_parameters(recurse=False):
            if id(p) not in canonical:
                continue
            if type(module) is not nn.Linear:
                raise UnbatchableError(f"{canonical[id(p)]} belongs to {type(module).__name__}, not to nn.Linear")
            layers.setdefault(path, {})[kind] = canonical[id(p)]
    return layers


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
