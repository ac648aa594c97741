"""The error catalogue: `g2is evaluate`, and where a training logs to."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from small_run import MODEL
from transformers import AutoModelForCausalLM
from wrong_input import GOOD, Case, Place, case

Command = Callable[[Place], list[object]]


def evaluate(*flags: object, test: Callable[[Place], Sequence[object]] | None = None) -> Command:
    """An `evaluate` of the untuned model that is right but for what is given."""

    def command(place: Place) -> list[object]:
        files = [place.target] if test is None else test(place)
        return ["evaluate", *files, "--model", MODEL, "--out", place.here / "out", *flags]

    return command


def adapter(name: str, width: int = 128, layers: str = "model.layers.0.self_attn.") -> Callable[[Place], Path]:
    """A LoRA adapter of rank 4 on one layer, which takes `width` numbers."""

    def write(place: Place) -> Path:
        settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": [f"{layers}q_proj"]}
        place.text(f"{name}/adapter_config.json", json.dumps(settings | {"base_model_name_or_path": "org/theirs"}))
        prefix = f"base_model.model.{layers}q_proj.lora_"
        weights = {f"{prefix}A.weight": torch.zeros(4, width), f"{prefix}B.weight": torch.zeros(128, 4)}
        save_file(weights, place.here / name / "adapter_model.safetensors")
        return place.here / name

    return write


def resized_adapter(settings: dict[str, list[str]]) -> Callable[[Place], Path]:
    """An adapter as PEFT saves it after `resize_token_embeddings`."""

    def write(place: Place) -> Path:
        model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        model.resize_token_embeddings(model.get_input_embeddings().num_embeddings + 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT has advice on tied weights
            adapted = get_peft_model(
                model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
            )
            adapted.save_pretrained(place.here / "resized", save_embedding_layers=not settings)
        return place.here / "resized"

    return write


def with_adapter(folder: Callable[[Place], object]) -> Command:
    return lambda place: [*evaluate()(place), "--adapter", folder(place)]


def rows(*given: object) -> Command:
    return evaluate(test=lambda place: [place.rows("test.jsonl", *given)])


def _a_training(place: Place) -> list[object]:
    place.text("out/.lock", "")
    place.text("out/config.yaml", "data: [x.jsonl]\nout: out\n")
    return evaluate()(place)


EVALUATE: dict[str, Case] = {
    "evaluate nothing": case(
        evaluate(test=lambda _: []),
        "expected files of test rows, or tasks of lm-eval (--task NAME), found neither",
    ),
    "evaluate a file that is not there": case(
        evaluate(test=lambda place: [place.here / "none.jsonl"]),
        "none.jsonl: expected a file, found none; check the path",
    ),
    "evaluate an adapter that is not there": case(
        with_adapter(lambda place: place.here / "none"),
        "none: expected an adapter's folder, found none there; check the path",
    ),
    "evaluate a folder without an adapter": case(
        with_adapter(lambda place: place.rows("some/file.jsonl", GOOD).parent),
        "some: expected an adapter with adapter_config.json, found none. Name a folder that PEFT's save_pretrained",
    ),
    "evaluate an adapter without weights": case(
        with_adapter(lambda place: place.text("pickled/adapter_config.json", "{}").parent),
        "pickled: expected the adapter's weights in adapter_model.safetensors, found none. g2is loads no pickled",
    ),
    "evaluate an adapter of a narrower model": case(
        with_adapter(adapter("narrow", 64)),
        "narrow: expected an adapter of ", "(llama), but", "has shape (4, 64) there and (4, 128) in the model. Give",
        "--model the model it was trained on (org/theirs)",
    ),
    "evaluate an adapter of other layers": case(
        with_adapter(adapter("other", layers="transformer.h.0.attn.")),
        "other: expected an adapter of ", "(llama), but Target modules", "not found in the base model",
        "Give --model the model it was trained on (org/theirs)",
    ),
    "evaluate an adapter with a resized embedding": case(
        with_adapter(resized_adapter({})),
        "resized: expected an adapter of ", "trained with another vocabulary: ", "has shape (", "in the model",
        "resize_token_embeddings", "merge_and_unload()",
    ),
    "evaluate an adapter with a resized module to save": case(
        with_adapter(resized_adapter({"modules_to_save": ["embed_tokens"]})),
        "resized: expected an adapter of ", "trained with another vocabulary: ", "merge_and_unload()",
    ),
    "evaluate an unknown metric": case(
        evaluate("--set", "evaluation.metrics=[loss, bleu]"),
        "evaluation.metrics: expected 'loss', 'exact_match', 'rouge_l' or 'numeric_match', found 'bleu'",
    ),
    "evaluate answers that are not generated": case(
        evaluate("--set", "evaluation.generate=false", "--set", "evaluation.metrics=[loss, rouge_l]"),
        "metrics: expected loss alone with generate: false, found rouge_l, which need the model's answers; leave",
    ),
    "evaluate an unknown setting": case(
        evaluate("--set", "evaluation.metric=loss"),
        "evaluation.metric: unknown; did you mean evaluation.metrics?",
    ),
    "evaluate a task file that is not there": case(
        evaluate("--task", "none.yaml"),
        "none.yaml: expected a task of lm-eval as a YAML file, but: ", "No such file",
    ),
    "evaluate a bad row": case(
        rows(GOOD, "{"),
        "test.jsonl:2: expected a JSON object, found bad JSON", "set them aside with --set examples.on_bad_row=skip",
    ),
    "evaluate a row with bad references": case(
        rows(GOOD, GOOD | {"id": "x", "references": "4"}, GOOD | {"answer": [4]}),
        "test.jsonl: 2 rows cannot be used:",
        "test.jsonl:2 (x): expected a list of strings in `references`, found a string",
        "test.jsonl:3 (row-2): expected a string or a number in `answer`, found a list",
        "set them aside with --set examples.on_bad_row=skip",
    ),
    "evaluate with a column that is not there": case(
        evaluate("--column", "answer=Solution"),
        "examples.columns (--column) answer=Solution: expected columns of the files",
    ),
    "evaluate into a file": case(
        lambda place: [*evaluate()(place)[:-1], place.text("a-file", "x")],
        "a-file: expected a test folder, found a file of that name; name another",
    ),
    "evaluate into a training's folder": case(
        _a_training,
        "out: expected a new folder or this command's own, found that of another command", "name another --out",
    ),
    "train and log to what is unknown": case(
        lambda place: place.train(place.target, flags=["--set", "execution.report_to=[tensorbord]"]),
        "execution.report_to: expected 'tensorboard' or 'wandb', found 'tensorbord'",
    ),
}  # fmt: skip
