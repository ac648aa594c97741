"""The error catalogue: run folders and stores, checkpoints, and what is done with a finished run."""

import json
import shutil
from collections.abc import Callable

from small_run import MODEL, SMALL, set_flags
from wrong_input import GOOD, Case, Place, case


def _store(**other: str) -> Callable[[Place], list[object]]:
    flags = set_flags(SMALL | {key.replace("__", "."): value for key, value in other.items()})
    return lambda place: [
        *("select", place.pool, place.target, "--model", MODEL, "--out", place.here / "run"),
        *("--store", place.finished / "store", *flags),
    ]


def _run_of_other_settings(place: Place) -> list[object]:
    files = ["select", place.pool, place.target, "--model", MODEL]
    return [*files, "--out", place.finished, "--budget", "7%", *set_flags(SMALL)]


def _out(name: str) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        place.text("a-file", "x")
        return ["select", place.pool, place.target, "--model", MODEL, "--out", place.here / name]

    return command


def _out_of_a_thesis(flag: str) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        place.text("thesis/chapter.tex", "x")
        return [*place.select()[:5], "--out", place.here / "run", flag, place.here / "thesis"]

    return command


def _store_of_another_version(place: Place) -> list[object]:
    place.text("old/manifest.json", '{"format": 0}')
    return place.select("--store", place.here / "old")


def _store_with_a_damaged_manifest(place: Place) -> list[object]:
    place.text("old/manifest.json", '{"format": ')
    return place.select("--store", place.here / "old")


def _exported(spoil: Callable[[Place], object]) -> Callable[[Place], list[object]]:
    """An `export` of a copy of the finished run that `spoil` has changed."""

    def command(place: Place) -> list[object]:
        shutil.copytree(place.finished, place.here / "copy", ignore=shutil.ignore_patterns("store"))
        spoil(place)
        return ["export", place.here / "copy"]

    return command


def _other_pool(place: Place) -> None:
    pool = place.text("pool.jsonl", place.pool.read_bytes() + place.pool.read_bytes().splitlines(keepends=True)[0])
    config = place.here / "copy/config.yaml"
    config.write_text(config.read_text().replace(str(place.pool), str(pool)))


def adapter(*files: str, settings: dict[str, object] | None = None) -> Callable[[Place], list[object]]:
    """A `select` with a checkpoint of these empty files and settings."""

    def command(place: Place) -> list[object]:
        for name in files:
            place.text(f"checkpoint/{name}", "")
        if settings is not None:
            place.text("checkpoint/adapter_config.json", json.dumps(settings))
        return place.select("--adapter", place.here / "checkpoint")

    return command


WILD = set_flags({"tuning.learning_rate": "1e30", "tuning.max_grad_norm": "1e30", "tuning.lora.rank": "4"})
ALL_FILES = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt")

FOLDERS: dict[str, Case] = {
    "store of another fingerprint": case(
        _store(warmup__epochs="2", gradients__projection__dim="256"),
        "store: expected a store made with the settings asked for, found 2 that differ",
        "warmup.epochs: there 1, asked for 2", "gradients.projection.dim: there 512, asked for 256",
        "Go back to these settings, or name another --store.",
    ),
    "run folder of other settings": case(
        _run_of_other_settings,
        "run: expected a run made with the settings asked for, found 1 that differ",
        "selection.budget: there 10%, asked for 7%", "Go back to these settings, or name another --out",
    ),
    "a file where the run folder should be": case(
        _out("a-file"),
        "a-file: expected a run folder, found a file of that name; name another",
    ),
    "a run folder below a file": case(
        _out("a-file/run"),
        "a-file/run: expected a run folder that can be written to, found: Not a directory",
        "Name another, or make it writable",
    ),
    "a store below a file": case(
        lambda place: place.select("--store", place.text("a-file", "x") / "store"),
        "a-file/store: expected a store folder that can be written to, found: Not a directory",
    ),
    "a run folder whose name is too long": case(
        _out("x" * 300),
        "xxx: expected a path that this system takes, found: File name too long; name another",
    ),
    "a store among other files": case(
        _out_of_a_thesis("--store"),
        "thesis: expected a g2is store or an empty folder, found other files; name another --store",
    ),
    "a store of another version": case(
        _store_of_another_version,
        "old: expected a store of format 1",
        "found format 0: it was made by another version of g2is. Name another --store",
    ),
    "a store with a damaged manifest": case(
        _store_with_a_damaged_manifest,
        "old/manifest.json: expected a JSON file as g2is writes it, but it cannot be read",
        "Put a whole copy back, or name another folder",
    ),
    "an adapter that is not there": case(
        lambda place: place.select("--adapter", place.here / "none"),
        "none: expected --adapter to be a checkpoint's folder, found none there; check the path",
    ),
    "an adapter without settings": case(
        adapter("model.safetensors"),
        "checkpoint: expected a LoRA checkpoint with adapter_config.json, found none", "Name a checkpoint-N folder",
    ),
    "a pickled adapter": case(
        adapter("adapter_config.json", "adapter_model.bin"),
        "checkpoint: expected the adapter's weights in adapter_model.safetensors", "found adapter_model.bin, a pickle",
        "save_pretrained",
    ),
    "an adapter without optimizer": case(
        adapter(*ALL_FILES[:2]),
        "checkpoint: expected the optimizer's state in optimizer.pt or optimizer.bin",
        "found none. Train with save_only_model=False",
    ),
    "an adapter of another kind": case(
        adapter(*ALL_FILES, settings={"peft_type": "IA3"}),
        "adapter_config.json: expected an adapter of peft_type LORA",
        "found 'IA3'. Train a LoRA adapter, or leave --adapter out",
    ),
    "an adapter beside matrices": case(
        lambda place: place.walk("--adapter", place.here),
        "found matrices and --adapter. Leave one or the other out",
    ),
    "train on a file that is not there": case(
        lambda place: place.train(place.here / "none.jsonl"),
        "none.jsonl: expected a file, found none; check the path",
    ),
    "train on an unfinished run": case(
        lambda place: place.train(place.text("run/config.yaml", "pool: x\n").parent),
        "run: expected a finished run, with selected.messages.jsonl in it",
        "found one without. Finish it with the same `g2is select` command",
    ),
    "train on a training": case(
        lambda place: place.train(place.text("other/config.yaml", "command: train\n").parent),
        "other: expected a run of `g2is select`, with selected.messages.jsonl in it",
        "found the folder of `g2is train`. Name the run, or a file of examples",
    ),
    "train on a bad row": case(
        lambda place: place.train(place.rows("data.jsonl", GOOD, "{")),
        "data.jsonl:2: expected a JSON object, found bad JSON", "set them aside with --set examples.on_bad_row=skip",
    ),
    "train with a wrong setting": case(
        lambda place: place.train(place.target, flags=["--set", "tuning.epoch=3"]),
        "tuning.epoch: unknown; did you mean tuning.epochs?",
    ),
    "train with a setting of select": case(
        lambda place: place.train(place.target, flags=["--set", "warmup.epochs=3"]),
        "warmup: unknown; known: data, out, model.…, examples.…, tuning.lora.…, tuning.…, ",
    ),
    "train an unknown LoRA target": case(
        lambda place: place.train(place.target, flags=["--set", "tuning.lora.target_modules=[q_prj]"]),
        "tuning.lora.target_modules: expected the name of a linear layer", "found 'q_prj'",
    ),
    "train with a wild learning rate": case(
        lambda place: place.train(place.target, flags=WILD),
        "expected a training that ends in numbers",
        "found NaN or Inf in the adapter: it diverged. Lower the learning_rate",
    ),
    "train without data": case(
        lambda place: place.train(),
        "g2is train: expected DATA (a run folder with a selection, or files of examples), found none",
    ),
    "train into a file": case(
        lambda place: [*place.train(place.target)[:-1], place.text("a-file", "x")],
        "a-file: expected a training folder, found a file of that name; name another",
    ),
    "export of a folder that is no run": case(
        lambda place: ["export", place.rows("a/b.jsonl", GOOD).parent],
        "a: expected the folder of a finished run, as `g2is select` and `g2is walk", "found none such",
    ),
    "export of a folder that is not there": case(
        lambda place: ["export", place.here / "none"],
        "none: expected the folder of a finished run, as `g2is select` and `g2is walk", "found none such",
    ),
    "export with a damaged selection": case(
        _exported(lambda place: place.text("copy/selection.parquet", "x")),
        "selection.parquet: expected what the run wrote, found it damaged; make it anew with `g2is verify",
    ),
    "export after the pool has changed": case(
        _exported(_other_pool),
        "pool.jsonl: expected the pool that ",
        "found the file changed. Put the old one back, or select again with another --out",
    ),
    "inspect a file that is not there": case(
        lambda place: ["inspect", place.here / "none.csv"],
        "none.csv: expected a file, found none; check the path",
    ),
    "inspect with an unknown schema": case(
        lambda place: ["inspect", place.pool, "--schema", "chatml"],
        "examples.layout: expected 'messages'", "found 'chatml'",
    ),
    "inspect with a model that is none": case(
        lambda place: ["inspect", place.pool, "--model", place.pool.parent],
        "expected a Hugging Face model folder with config.json, found none there",
    ),
}  # fmt: skip
