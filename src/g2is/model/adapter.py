"""The LoRA adapter: where it attaches, how it is saved and loaded."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from g2is.config import LoraConfig
from g2is.errors import ModelError, StoreError, first_line, may_not_be_read, pass_on_too_little_memory
from g2is.model.folder import ModelFolder
from g2is.model.layers import is_transposed, linear_layers, read_by_weight, token_mixing, without_text
from g2is.model.parameters import canonical_name, trainable_parameters
from g2is.model.plain_files import check_plain_files

if TYPE_CHECKING:  # peft takes seconds to import, and what a finished store needs of an adapter needs none of it
    from peft import LoraConfig as PeftLoraConfig
    from peft import PeftModel

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@contextmanager
def _by_old_names() -> Iterator[None]:
    """Around what makes a PeftModel: PEFT asks the model for what transformers has renamed.

    What transformers says of that is nobody's to mend who uses g2is, so it is not passed on.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def with_fresh(model: nn.Module, config: "PeftLoraConfig") -> "PeftModel":
    """`model` with a fresh adapter, as PEFT's `config` says. Raises what PEFT raises."""
    import peft

    with _by_old_names():
        return peft.get_peft_model(model, config)


def with_saved(model: nn.Module, adapter: Path, **options: Any) -> "PeftModel":
    """`model` with the adapter in that folder; `options` are those of PEFT's `from_pretrained`."""
    from peft import PeftModel

    with _by_old_names():
        return PeftModel.from_pretrained(model, str(adapter), torch_device=read_on(model), **options)


def read_on(model: nn.Module) -> str:
    """Where PEFT is to read the weights of an adapter for `model`: else it is the first GPU, whatever `model` is on."""
    device = next(model.parameters()).device
    return "cpu" if device.type == "meta" else str(device)


def attach_adapter(model: nn.Module, config: LoraConfig, seed: int, section: str = "warmup") -> "PeftModel":
    """Put a fresh LoRA adapter on the layers that `config.target_modules` names, initialised from `seed`.

    `section` is that of `config` in the settings, for errors. Raises ModelError where a name matches nothing, or
    matches something that is not a linear layer (the fused experts of a mixture-of-experts model, say): no match is
    ever skipped in silence.
    """
    import peft

    names = target_modules(model, config, section)
    torch.manual_seed(seed)
    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=names,
        task_type="CAUSAL_LM",
        # PEFT would set this itself, with a warning
        fan_in_fan_out=any(is_transposed(model.get_submodule(name)) for name in names),
    )
    try:
        return with_fresh(model, lora)
    except ValueError as error:  # a layer that PEFT knows it cannot serve
        raise ModelError(
            f"{section}.lora.target_modules: expected layers that PEFT puts LoRA on, but: {first_line(error)}. Leave"
            " the layer out"
        ) from None


def target_modules(model: nn.Module, config: LoraConfig, section: str = "warmup") -> list[str]:
    """The full paths of the layers that get an adapter, in the model's order.

    "attention" means the token-mixing layers of every block (`model/layers.py`). Layers that text does not go through
    (a vision tower's) are left out. Raises ModelError as `attach_adapter`.
    """
    key = f"{section}.lora.target_modules"
    beside = without_text(model)
    everything = linear_layers(model)
    linear = {
        path: layer
        for path, layer in everything.items()
        if not any(path.startswith(part + ".") or path == part for part in beside)
    }
    if config.target_modules == "attention":
        chosen = token_mixing(model, list(linear))
        if not chosen:
            raise ModelError(
                f"{key}: expected token-mixing layers (attention, state space …) under a known name in"
                f" {type(model).__name__}, found none. Name the layers to adapt, --set '{key}=[…]'; its linear layers"
                f" are: {_leaf_names(linear)}"
            )
        return chosen
    chosen_set: set[str] = set()
    for name in config.target_modules:
        rest = [other for other in config.target_modules if other != name]
        instead = f"[{','.join(rest)}]" if rest else "attention"
        leave_out = f"leave the name out: --set '{key}={instead}'"
        matches = [path for path in linear if path == name or path.endswith("." + name)]
        others = [path for path, _ in _owners(model, name) if path not in everything]
        if others:
            kind = dict(_owners(model, name))[others[0]]
            raise ModelError(
                f"{key}: expected names of linear layers (nn.Linear or Conv1D), found {name!r}, which names {others[0]}"
                f" ({kind}) and is not a linear layer. Gradients of such layers are not supported (experts kept in one"
                f" fused parameter, embeddings, convolutions): {leave_out}"
            )
        fused = [path for path, p in model.named_parameters() if p.ndim == 3 and _is_part_of(name, path)]
        if fused and name not in everything:
            raise ModelError(
                f"{key}: {name!r} is kept by this model's experts inside one fused parameter,"
                f" {fused[0]}, whose gradients are not supported; adapting only the other layers of that name would"
                f" skip the experts in silence. To {leave_out}, or give full paths of the layers you mean"
            )
        bypassed = [path for path in matches if read_by_weight(model, path)]
        if bypassed:
            raise ModelError(
                f"{key}: {name!r} names {bypassed[0]}, whose weight the state-space code of {type(model).__name__}"
                f" takes by itself, so that LoRA on it would go unused; {leave_out}"
            )
        if not matches and any(path == name or path.endswith("." + name) for path in everything):
            raise ModelError(
                f"{key}: {name!r} names layers of {', '.join(beside)} alone, through which text does not go, so that"
                f" they get no gradient; {leave_out}"
            )
        if not matches:
            raise ModelError(
                f"{key}: expected the name of a linear layer of {type(model).__name__}, found"
                f" {name!r}. Its linear layers are: {_leaf_names(linear)}"
            )
        chosen_set.update(matches)
    return [path for path in linear if path in chosen_set]


def load_adapter(folder: ModelFolder, adapter: Path, device: torch.device) -> "PeftModel":
    """The base model with a saved adapter, trainable, in eval mode."""
    model = with_saved(folder.load(device), adapter, is_trainable=True)
    trainable_parameters(model)  # an adapter without parameters is an error here, not after the first batch
    return model.eval()


def find_adapter(folder: Path) -> Path:
    """The adapter's own folder: `folder`, or its adapter/ where it is that of a `g2is train`.

    Raises ModelError if there is none, or its weights are not in safetensors.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: expected an adapter's folder, found none there; check the path")
    inner = folder / "adapter"
    check_plain_files(folder)
    check_plain_files(inner)
    adapter = inner if not (folder / _CONFIG).is_file() and (inner / _CONFIG).is_file() else folder
    if not (adapter / _CONFIG).is_file():
        raise ModelError(
            f"{adapter}: expected an adapter with {_CONFIG}, found none. Name a folder that PEFT's save_pretrained(…)"
            " wrote, or that of a finished `g2is train`"
        )
    if not (adapter / _WEIGHTS).is_file():
        raise ModelError(
            f"{adapter}: expected the adapter's weights in {_WEIGHTS}, found none. g2is loads no pickled weights: save"
            " it with PEFT's save_pretrained(…), which writes safetensors"
        )
    return adapter


def check_adapter(folder: ModelFolder, adapter: Path) -> None:
    """Raise ModelError unless the saved `adapter` fits the base model, whose weights are not loaded for that."""
    import peft

    problem, base, resized = "", None, ""
    saved: Mapping[str, torch.Tensor] = {}
    try:
        config = peft.PeftConfig.from_pretrained(str(adapter))
        base, config.inference_mode = config.base_model_name_or_path, False
        saved = saved_parameters(adapter)
        with torch.device("meta"):
            plain = folder.without_weights()
            whole = {canonical_name(name): tuple(p.shape) for name, p in plain.named_parameters(remove_duplicate=False)}
            resized = _other_shape(saved, whole)
            attached = {} if resized else trainable_parameters(with_fresh(plain, config))
        here, there = _lora_shapes(attached), _lora_shapes(saved)
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                problem = f"{name} has shape {there.get(name, 'none')} there and {here.get(name, 'none')} in the model"
                break
    except Exception as error:  # whatever a stranger's files make PEFT raise
        pass_on_too_little_memory(error)
        problem = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if resized:
        raise ModelError(
            f"{adapter}: expected an adapter of {folder.path} as it is, found one that was trained with another"
            f" vocabulary: {resized}. Give --model a copy of the base model that was resized the same way"
            " (resize_token_embeddings, then save_pretrained, with the adapter's tokenizer beside it), or merge the"
            " two with PEFT's merge_and_unload(), save the result, and give that alone"
        )
    if spoiled := [name for name, tensor in saved.items() if not bool(tensor.isfinite().all())]:
        raise ModelError(
            f"{adapter}: expected numbers in the adapter's weights, found NaN or Inf in {', '.join(spoiled[:5])}: its"
            " training diverged. Take an earlier checkpoint"
        )
    if problem:
        trained_on = f" ({base})" if base else ""
        raise ModelError(
            f"{adapter}: expected an adapter of {folder.path} ({folder.hf_config.model_type}), but {problem}. Give"
            f" --model the model it was trained on{trained_on}"
        )


def adapted_layers(adapter: Path) -> list[str]:
    """The paths of the layers that a saved adapter is on."""
    return sorted({name.partition(".lora_")[0] for name in saved_parameters(adapter) if ".lora_" in name})


def saved_parameters(adapter: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved adapter by canonical parameter name. Raises StoreError if they cannot be read."""
    try:
        (adapter / _WEIGHTS).open("rb").close()  # safetensors would call it a file that is not there
    except PermissionError:
        raise may_not_be_read(adapter / _WEIGHTS) from None
    try:
        return {canonical_name(name): tensor for name, tensor in load_file(adapter / _WEIGHTS).items()}
    except SafetensorError as error:
        pass_on_too_little_memory(error)
        raise StoreError(
            f"{adapter / _WEIGHTS}: expected the weights of an adapter, found a damaged file ({first_line(error)}). Put"
            " a whole copy back"
        ) from None


def _other_shape(saved: Mapping[str, torch.Tensor], whole: Mapping[str, tuple[int, ...]]) -> str:
    """Of the whole layers that an adapter holds (a resized embedding, `modules_to_save`), the first that differs."""
    for name, tensor in saved.items():
        own = name.replace(".modules_to_save", "").replace(".base_layer", "")
        if own in whole and tuple(tensor.shape) != whole[own]:
            return f"{own} has shape {tuple(tensor.shape)} there and {whole[own]} in the model"
    return ""


def _lora_shapes(parameters: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what LoRA adds; what else an adapter may hold (whole layers) is saved under other names."""
    return {name: tuple(parameter.shape) for name, parameter in parameters.items() if "lora_" in name}


def _owners(model: nn.Module, name: str) -> list[tuple[str, str]]:
    """Every module or parameter that goes by `name`, with what it is."""
    named = [(path, type(module).__name__) for path, module in model.named_modules()]
    # a layer's own weight is named by the layer; a bare parameter (fused experts) only by itself
    named += [(path, f"parameter of shape {tuple(p.shape)}") for path, p in model.named_parameters() if p.ndim >= 2]
    return [(path, kind) for path, kind in named if path == name or path.endswith("." + name)]


def _is_part_of(name: str, fused: str) -> bool:
    """Whether a fused parameter (`experts.gate_up_proj`) holds what is asked for as `name` (`up_proj`)."""
    return name.endswith("_proj") and name.removesuffix("_proj") in fused.rsplit(".", 1)[-1].split("_")


def _leaf_names(linear: dict[str, nn.Module]) -> str:
    return ", ".join(sorted({path.rsplit(".", 1)[-1] for path in linear}))
