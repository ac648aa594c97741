"""What a run needs before its first stage: the model's folder, the renderer, and the store's fingerprint."""

from dataclasses import dataclass
from typing import Any

import torch

from g2is.config import Config, GradientsConfig, WarmupConfig
from g2is.config.later import without_unsaid
from g2is.errors import ModelError
from g2is.examples.as_trained import render_as_trained
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.gradients import projection
from g2is.jobs.model_identity import ModelIdentity, identify, say_slow_products
from g2is.methods import GRADIENT
from g2is.model.adapter import target_modules
from g2is.model.all_linear import all_linear, check_plain_weights
from g2is.model.devices import check_spread
from g2is.model.folder import ModelFolder, find_model, resolve_device, resolve_dtype
from g2is.progress import Reporter
from g2is.store import draw
from g2is.store.fingerprint import Fingerprint, flatten
from g2is.store.manifest import stored_fingerprint, stored_forms
from g2is.warmup.imported import CheckpointFiles, find_checkpoint


@dataclass(frozen=True)
class Prepared:
    """A configuration with its model found and its tokenizer loaded; the model itself is not.

    `renderer` is the pool's; targets may learn less of their answers, by `target_renderer`.

    `config` is the one to go on with: it may have taken the Γ forms that its store holds. `checkpoint` is the user's
    own, if it is to be taken in place of the warm-up.
    """

    config: Config
    model: ModelFolder
    identity: ModelIdentity
    tokenizer: Any
    renderer: Renderer
    target_renderer: Renderer
    checkpoint: CheckpointFiles | None
    fingerprint: Fingerprint


@dataclass(frozen=True)
class ToPlan:
    """A run that is only to be planned: on `device`, which need not be here, with a `model` that needs no weights."""

    device: torch.device
    model: ModelFolder


def prepare(config: Config, reporter: Reporter, to_plan: ToPlan | None = None) -> Prepared:
    """Find the model and fingerprint everything that decides the store's rows.

    Where it is only `to_plan` a run, weights are hashed only if there is a store that they are to be known in. Raises
    ConfigError where several processes would each spread the model over all devices, ModelError where model, tokenizer,
    template, device, checkpoint or LoRA's layers cannot be used.
    """
    check_spread(config.model, config.execution)
    model = find_model(config.model) if to_plan is None else to_plan.model
    device = resolve_device(config.execution.device) if to_plan is None else to_plan.device
    adapter = config.warmup.adapter
    checkpoint = None if adapter is None else find_checkpoint(adapter)
    rendered = render_as_trained(model, adapter, config.examples)
    for text in rendered.notices:
        reporter.notice(text)
    config = _with_stored_forms(config.model_copy(update={"examples": rendered.config}))
    stored = stored_fingerprint(config.store_folder)
    if checkpoint is None and config.selection.representation == GRADIENT and not _attached(config, stored):
        if config.gradients.parameters == "all":  # a wrong name shows before files are read
            check_plain_weights(model)
            all_linear(model.without_weights())
        else:
            target_modules(model.without_weights(), config.warmup.lora)
    if to_plan is not None and not stored:
        identity = ModelIdentity("not looked at", resolve_dtype(config.model, device))
    elif not model.has_weights:
        raise ModelError(
            f"{config.store_folder}: expected no store, or a model with its weights, by which a store knows it; found"
            f" settings alone in {model.path}. Name another --store, or fetch the weights"
        )
    else:
        identity = identify(model, config.model, device, reporter, stored)
        say_slow_products(identity.dtype, device, reporter)
    fingerprint = flatten(
        {
            "model": identity.in_store(),
            "examples": rendered.renderer.fingerprint,  # target rows that have other tokens have other keys
            # a checkpoint brings all that the other settings would decide, wherever it lies
            "warmup": {**as_trained(config.warmup, config.gradients), "draw_version": draw.VERSION}
            if checkpoint is None
            else {"adapter": checkpoint.digest},
            "gradients": config.gradients.in_fingerprint(),
            "projection_version": projection.VERSION,
        }
    )
    fingerprint |= without_unsaid({"selection.warmup_seeds": config.selection.warmup_seeds})
    target_renderer = make_renderer(
        rendered.tokenizer, rendered.config, model.context_length, "target", model.num_embeddings
    )
    return Prepared(
        config, model, identity, rendered.tokenizer, rendered.renderer, target_renderer, checkpoint, fingerprint
    )


def as_trained(warmup: WarmupConfig, gradients: GradientsConfig) -> dict[str, Any]:
    """What of the warm-up's settings decides it: those of an adapter only where one is trained."""
    return warmup.model_dump(mode="json", exclude={"adapter", *(() if gradients.parameters == "lora" else ("lora",))})


def _attached(config: Config, stored: Fingerprint) -> bool:
    """Whether a store made with `stored` has such layers. Another model in its place is refused when it is opened.

    To look for the layers anew would take seconds, and all of the code that makes models.
    """
    if config.gradients.parameters == "all":
        return stored.get("gradients.parameters") == "all"
    asked = flatten({"warmup": {"lora": config.warmup.lora.model_dump(mode="json")}})
    return all(stored.get(key) == value for key, value in asked.items())


def _with_stored_forms(config: Config) -> Config:
    """The configuration with the Γ forms that its store holds, if the one to be looked at is among them.

    So a store made for some methods serves each of them. Forms that were asked for and that it lacks stay as they are.
    """
    stored, gradients = stored_forms(config.store_folder), config.gradients
    lacks = "forms" in gradients.model_fields_set and not set(gradients.forms) <= set(stored)
    if lacks or config.pool_form not in stored:
        return config
    adopted = config.model_copy(update={"gradients": config.gradients.model_copy(update={"forms": stored})})
    return adopted if adopted.pool_form == config.pool_form else config
