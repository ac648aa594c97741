"""What a run needs before its first stage: the model's folder, the renderer, and the store's fingerprint."""

from dataclasses import dataclass

from g2is.config import Config
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.gradients import projection
from g2is.model.folder import ModelFolder, find_model, resolve_device, resolve_dtype
from g2is.progress import Reporter
from g2is.store.fingerprint import Fingerprint, flatten


@dataclass(frozen=True)
class Prepared:
    """A configuration with its model found and its tokenizer loaded; the model itself is not."""

    config: Config
    model: ModelFolder
    renderer: Renderer
    fingerprint: Fingerprint


def prepare(config: Config, reporter: Reporter) -> Prepared:
    """Find the model and fingerprint everything that decides the store's rows.

    Raises ModelError where model, tokenizer, template or device cannot be used.
    """
    model = find_model(config.model)
    device = resolve_device(config.execution.device)
    renderer = make_renderer(model.tokenizer(), config.examples, model.context_length)
    with reporter.stage("check model", "bytes") as progress:
        weights = model.digest(progress)
    fingerprint = flatten(
        {
            "model": {
                "weights": weights,
                "dtype": str(resolve_dtype(config.model, device)).removeprefix("torch."),
            },
            "examples": renderer.fingerprint,
            "warmup": config.warmup.model_dump(mode="json"),
            "gradients": config.gradients.model_dump(mode="json"),
            "projection_version": projection.VERSION,
        }
    )
    return Prepared(config, model, renderer, fingerprint)
