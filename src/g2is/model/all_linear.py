"""All linear layers of a model, in an adapter's place: which they are, training them, their weights on disk.

`gradients.parameters: all` takes the weight and bias of every linear layer that text goes through, the head included.
Embeddings and norms are not linear layers. A head whose weight is the embedding's is left out with it, for its gradient
is of both.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from g2is.config import LoraConfig, Parameters
from g2is.errors import ModelError, StoreError, first_line, may_not_be_read
from g2is.model.adapter import attach_adapter
from g2is.model.folder import ModelFolder
from g2is.model.layers import is_linear, linear_layers, off_the_text, read_by_weight
from g2is.model.parameters import trainable_parameters
from g2is.model.settings_file import BITSANDBYTES
from g2is.store.moments import LINEAR_WEIGHTS

_INSTEAD = "leave gradients.parameters at lora"


def check_plain_weights(folder: ModelFolder) -> None:
    """Raise ModelError for a checkpoint whose own weights are computed with as they were rounded: none has a gradient.

    Those of fp8 are read back as they are loaded.
    """
    if folder.rounded_by == BITSANDBYTES:
        raise ModelError(
            f"{folder.path}: expected plain weights beside gradients.parameters: all, found a checkpoint that is"
            f" rounded ({BITSANDBYTES}), whose weights have no gradient. Name the model that it was made from, or"
            f" {_INSTEAD}"
        )


def all_linear(model: nn.Module) -> tuple[list[str], dict[str, str]]:
    """The paths of the layers that `gradients.parameters: all` takes, and of those it leaves out, with why.

    Raises ModelError where there are none, or one is quantised: only numbers with a fraction have a gradient.
    """
    others = {
        id(parameter)
        for module in model.modules()
        if not is_linear(module)
        for parameter in module.parameters(recurse=False)
    }
    linear = linear_layers(model)
    unused = off_the_text(model, list(linear))
    taken, left_out = [], dict[str, str]()
    for path, layer in linear.items():
        if path in unused:
            left_out[path] = "text does not go through it"
        elif read_by_weight(model, path):
            left_out[path] = "a state-space kernel reads its weight"
        elif id(layer.weight) in others or _is_to_be_tied(model, layer):
            left_out[path] = "its weight is the embedding's"
        else:
            taken.append(path)
    wrong = [path for path in taken if not _is_plain(model.get_submodule(path))]
    if wrong:
        raise ModelError(
            f"gradients.parameters: all: expected linear layers with weights in float32 or bfloat16, found"
            f" {model.get_submodule(wrong[0]).weight.dtype} of {wrong[0]} and {len(wrong) - 1} more. Name the model"
            f" that was quantised, or {_INSTEAD}"
        )
    if not taken:
        raise ModelError(
            f"gradients.parameters: all: expected linear layers in {type(model).__name__}, found none; {_INSTEAD}"
        )
    return taken, left_out


def make_all_trainable(model: nn.Module, *, to_train: bool = False) -> nn.Module:
    """`model` with the parameters of `all_linear` requiring a gradient, and no others.

    With `to_train` these become float32, whatever the model's type: steps of a learning rate are smaller than what
    bfloat16 tells apart. Raises ModelError as `all_linear`.
    """
    taken, _ = all_linear(model)
    model.requires_grad_(False)
    for path in taken:
        for parameter in model.get_submodule(path).parameters(recurse=False):
            if to_train:
                parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
    return model


def make_trainable(
    model: nn.Module, parameters: Parameters, lora: LoraConfig, seed: int, section: str = "warmup", *, to_train: bool
) -> nn.Module:
    """`model` with a fresh adapter, as `attach_adapter` makes it, or all its linear layers trainable, by `parameters`.

    Raises ModelError as they do.
    """
    if parameters == "all":
        return make_all_trainable(model, to_train=to_train)
    return attach_adapter(model, lora, seed, section)


def load_all_linear(folder: ModelFolder, device: torch.device) -> nn.Module:
    """The base model, its linear layers trainable, in eval mode."""
    return make_all_trainable(folder.load(device)).eval()


def saver_of_weights(dtype: torch.dtype) -> Callable[[nn.Module, Path], None]:
    """What writes the trainable weights of a model into a folder, in `dtype`, which gradients are taken in."""

    def save(model: nn.Module, folder: Path) -> None:
        parameters = trainable_parameters(model)
        if not all(bool(parameter.isfinite().all()) for parameter in parameters.values()):
            raise ModelError(
                "expected a training that ends in numbers, found NaN or Inf in the weights: it diverged. Lower"
                " warmup.learning_rate, or set model.dtype to float32"
            )
        folder.mkdir(exist_ok=True)
        tensors = {name: of.detach().to("cpu", dtype).contiguous() for name, of in parameters.items()}
        save_file(tensors, folder / LINEAR_WEIGHTS)

    return save


class SavedWeights(Mapping[str, torch.Tensor]):
    """The weights that a warm-up of all linear layers kept, by canonical name, each read when it is asked for."""

    def __init__(self, folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
        """Raises StoreError where they cannot be read, or are not those of `parameters`."""
        self._path = folder / LINEAR_WEIGHTS
        try:
            with safe_open(self._path, framework="pt") as file:
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except PermissionError:
            raise may_not_be_read(self._path) from None
        except SafetensorError as error:
            raise StoreError(
                f"{self._path}: expected weights of linear layers, found a damaged file ({first_line(error)}). Put a"
                " whole copy back"
            ) from None
        expected = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise StoreError(
                    f"{self._path}: expected {name} of shape {expected.get(name)}, found {found.get(name)}: the weights"
                    " are not those of this model"
                )
        self._names = sorted(found)

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _is_plain(layer: nn.Module) -> bool:
    weight = layer.weight
    if not isinstance(weight, torch.Tensor):
        return False
    if weight.is_meta and weight.dtype == torch.float16:
        return True  # as config.json says it was saved; it is loaded in `model.dtype`, which is never float16 here
    return weight.dtype in (torch.float32, torch.float64, torch.bfloat16)


def _is_to_be_tied(model: nn.Module, layer: nn.Module) -> bool:
    """Whether `layer` of a model without weights is a head that gets the embedding's weight once it has any."""
    config = getattr(model, "config", None)
    if config is None or not layer.weight.is_meta or layer is not model.get_output_embeddings():  # type: ignore[operator]
        return False
    return bool(getattr(config.get_text_config(), "tie_word_embeddings", False))
