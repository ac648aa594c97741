"""What lies beside an adapter's weights: its tokenizer, how its examples were rendered, and its model card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2is.config import Config, ExamplesConfig, ModelConfig, TrainConfig, TuningConfig
from g2is.examples.as_trained import keep_rendering
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import Renderer
from g2is.jobs.prepare import Prepared
from g2is.machine.environment import own_version
from g2is.model.folder import ModelFolder
from g2is.outputs.adapter_card import keep_card
from g2is.outputs.card import place_name
from g2is.progress import Reporter

Keep = Callable[[Path], None]


def beside_training(
    config: TrainConfig, model: ModelFolder, tokenizer: Any, renderer: Renderer, table: ExampleTable, reporter: Reporter
) -> Keep:
    """What `g2is train` keeps beside its adapter."""
    data = ", ".join(f"`{place_name(location)}`" for location in config.data)
    card = keep_card(
        config.model.name,
        "An adapter tuned on selected examples",
        [
            f"**Method**: LoRA of rank {config.tuning.lora.rank}, `g2is train`",
            f"**Data**: {data}: {len(table):,} examples, {int(table.num_tokens.sum()):,} tokens,"
            f" {config.tuning.epochs} passes",
        ],
        {"model": _told(config.model), "tuning": config.tuning.model_dump(mode="json")},
        own_version(),
    )
    return _both(keep_rendering(model, tokenizer, renderer, config.examples, reporter.notice), card)


def beside_warmup(prepared: Prepared, reporter: Reporter) -> Keep:
    """What is kept beside the adapters of a warm-up."""
    config: Config = prepared.config
    card = keep_card(
        config.model.name,
        "The adapter of a warm-up",
        [
            f"**Method**: LoRA of rank {config.warmup.lora.rank}, the warm-up of `g2is select`",
            f"**Data**: a random {config.warmup.fraction:.4g} of the pool, {config.warmup.epochs} passes at most",
            "**Use**: gradients are taken with it, by which data are selected. It was trained too little to answer",
        ],
        {"model": _told(config.model), "warmup": config.warmup.model_dump(mode="json", exclude={"adapter"})},
        own_version(),
    )
    keep = keep_rendering(
        prepared.model, prepared.tokenizer, prepared.renderer, config.examples, _once(reporter.notice)
    )
    return _both(keep, card)


def beside_trial(
    model: ModelConfig,
    tuning: TuningConfig,
    examples: ExamplesConfig,
    prepared: Prepared,
    notice: Callable[[str], None],
) -> Keep:
    """What a comparison keeps beside the adapters that stay."""
    card = keep_card(
        model.name,
        "An adapter of a comparison",
        [f"**Method**: LoRA of rank {tuning.lora.rank}, `g2is compare`; comparison.json says on which rows"],
        {"model": _told(model), "tuning": tuning.model_dump(mode="json", exclude={"seed"})},
        own_version(),
    )
    return _both(keep_rendering(prepared.model, prepared.tokenizer, prepared.renderer, examples, notice), card)


def _told(model: ModelConfig) -> dict[str, Any]:
    return {name: value for name, value in model.model_dump(mode="json").items() if value is not None}


def _both(*keeps: Keep) -> Keep:
    def keep(folder: Path) -> None:
        for each in keeps:
            each(folder)

    return keep


def _once(notice: Callable[[str], None]) -> Callable[[str], None]:
    """A notice of the same words is given once, though each epoch's adapter has cause for it."""
    told: set[str] = set()

    def say(text: str) -> None:
        if text not in told:
            told.add(text)
            notice(text)

    return say
