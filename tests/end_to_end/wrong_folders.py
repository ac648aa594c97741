"""The error catalogue, part three: matrices, run folders, stores, checkpoints, and what is done with a finished run."""

import json
import shutil
from collections.abc import Callable

import numpy as np
import torch
from small_run import MODEL, SMALL, set_flags
from wrong_input import GOOD, Case, Place, case

RNG = np.random.default_rng(1)


def _spoilt(value: float) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(30, 8))
    values[4, 2] = value
    return values


def pool_matrix(name: str, values: np.ndarray) -> Callable[[Place], list[object]]:
    return lambda place: place.walk(pool=place.matrix(name, values))


def pool_tensor(value: object) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        torch.save(value, place.here / "pool.pt")
        return place.walk(pool=place.here / "pool.pt")

    return command


def graph(values: np.ndarray) -> Callable[[Place], list[object]]:
    return lambda place: place.walk("--graph", place.matrix("graph.npy", values))


def _objects(place: Place) -> list[object]:
    return place.walk(pool=place.matrix("pool.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True))


def _only_pool(place: Place) -> list[object]:
    return ["walk", "--pool-gradients", place.matrix("good.npy"), "--out", place.here / "run"]


MATRICES: dict[str, Case] = {
    "k of two matrices differs": case(lambda place: place.walk(target=place.matrix("narrow.npy", np.ones((3, 7)))), "narrow.npy: expected k = 8 coordinates a row, as ", "good.npy has, found 7; both must come from one model, adapter and projection"),
    "NaN in a matrix": case(pool_matrix("pool.npy", _spoilt(np.nan)), "pool gradients ", "pool.npy: expected finite numbers, found NaN or Inf, first in row(s) [4]; leave such rows out or set them to zero"),
    "Inf in a matrix": case(pool_matrix("pool.npy", _spoilt(-np.inf)), "pool.npy: expected finite numbers, found NaN or Inf, first in row(s) [4]"),
    "an array of objects": case(_objects, "pool.npy: expected one array of plain numbers, but it cannot be read", "write the file again"),
    "a pickle called .pt": case(pool_tensor(Place), "pool.pt: expected a file holding nothing but one tensor, found other Python objects", "save the tensor itself: torch.save(tensor, path)"),
    "two tensors": case(pool_tensor({"a": torch.ones(3, 8), "b": torch.ones(3, 8)}), "pool.pt: expected a file holding one tensor, found a dict with a, b; save the tensor itself"),
    "one-dimensional matrix": case(pool_matrix("pool.npy", np.ones(8)), "pool.npy: expected a matrix (rows, k) with at least one row and column, found shape (8,); save it with one row an example"),
    "whole numbers": case(pool_matrix("pool.npy", np.ones((3, 8), np.int64)), "pool.npy: expected float16, float32 or float64 numbers, found dtype int64; convert them"),
    "unknown suffix of a matrix": case(lambda place: place.walk(pool=place.text("pool.csv", "1,2\n")), "pool.csv: expected a .npy, .safetensors or .pt file or a Zarr array's folder, found .csv; save it as one of these"),
    "matrix that is not there": case(lambda place: place.walk(pool=place.here / "none.npy"), "none.npy: expected a file, found no such file; check the path"),
    "text called .npy": case(lambda place: place.walk(pool=place.text("pool.npy", "1 2\n")), "pool.npy: expected one array of plain numbers, but it cannot be read", "write the file again"),
    "a folder that is no Zarr array": case(lambda place: place.walk(pool=place.finished), "run: expected one array of plain numbers, but it cannot be read"),
    "one matrix of two": case(_only_pool, "expected --pool-gradients and --target-gradients together, found no --target-gradients"),
    "matrices and a model": case(lambda place: place.walk("--model", MODEL), "g2is walk: expected either POOL, TARGET and --model", "found matrices and --model. Leave one or the other out"),
    "a graph of another pool": case(graph(np.zeros((29, 4), np.int64)), "graph.npy: expected (30, n), a list of neighbours for each pool row, found shape (29, 4)"),
    "a graph that points outside": case(graph(np.full((30, 4), 30)), "graph.npy: expected row indices from 0 to 29, found 30 in row 0, column 0; the graph must be made from this pool"),
    "a graph of fractions": case(graph(np.ones((30, 4))), "graph.npy: expected integer row indices, found dtype float64"),
    "a graph without matrices": case(lambda place: ["walk", *place.select("--graph", place.matrix("graph.npy"))[1:]], "g2is walk: expected --graph beside --pool-gradients, whose rows it lists, found none; leave it out"),
    "tokens of a matrix": case(lambda place: ["walk", *place.walk()[1:5], "--budget", "2Mtok", "--out", place.here / "run"], "budget: expected a share of the rows such as '1%' or a number of rows such as '500', found '2Mtok'"),
    "zero target gradients": case(lambda place: place.walk(target=place.matrix("zero.npy", np.zeros((3, 8)))), "target gradients: expected a row that is not zero, found 3 zero row(s)", "check the target's answers and max_length"),
    "--core-fraction of no number": case(lambda place: place.walk("--core-fraction", "half"), "selection.core_fraction: expected a valid number", "found 'half'"),
    "more components than target rows": case(lambda place: place.walk("--core-mode", "count_ratio", "--core-fraction", "1", target=place.matrix("few.npy", _spoilt(0)[:3])), "core_mode count_ratio: expected at most 3 components, one for each target row, found 1.0 of k = 8, which is 8; use a core_fraction of at most 0.375"),
}  # fmt: skip


def _store(**other: str) -> Callable[[Place], list[object]]:
    flags = set_flags(SMALL | {key.replace("__", "."): value for key, value in other.items()})
    return lambda place: ["select", place.pool, place.target, "--model", MODEL, "--out", place.here / "run", "--store", place.finished / "store", *flags]


def _run_of_other_settings(place: Place) -> list[object]:
    return ["select", place.pool, place.target, "--model", MODEL, "--out", place.finished, "--budget", "7%", *set_flags(SMALL)]


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


ALL_FILES = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt")

FOLDERS: dict[str, Case] = {
    "store of another fingerprint": case(_store(warmup__epochs="2", gradients__projection__dim="256"), "store: expected a store made with the settings asked for, found 2 that differ", "warmup.epochs: there 1, asked for 2", "gradients.projection.dim: there 512, asked for 256", "Go back to these settings, or name another --store."),
    "run folder of other settings": case(_run_of_other_settings, "run: expected a run made with the settings asked for, found 1 that differ", "selection.budget: there 10%, asked for 7%", "Go back to these settings, or name another --out"),
    "a file where the run folder should be": case(_out("a-file"), "a-file: expected a run folder, found a file of that name; name another"),
    "a run folder below a file": case(_out("a-file/run"), "a-file/run: expected a run folder that can be written to, found: Not a directory. Name another, or make it writable"),
    "a store below a file": case(lambda place: place.select("--store", place.text("a-file", "x") / "store"), "a-file/store: expected a store folder that can be written to, found: Not a directory"),
    "a run folder whose name is too long": case(_out("x" * 300), "xxx: expected a path that this system takes, found: File name too long; name another"),
    "a store among other files": case(_out_of_a_thesis("--store"), "thesis: expected a g2is store or an empty folder, found other files; name another --store"),
    "a store of another version": case(_store_of_another_version, "old: expected a store of format 1, found format 0: it was made by another version of g2is. Name another --store"),
    "a store with a damaged manifest": case(_store_with_a_damaged_manifest, "old/manifest.json: expected a JSON file as g2is writes it, but it cannot be read", "Put a whole copy back, or name another folder"),
    "an adapter that is not there": case(lambda place: place.select("--adapter", place.here / "none"), "none: expected --adapter to be a checkpoint's folder, found none there; check the path"),
    "an adapter without settings": case(adapter("model.safetensors"), "checkpoint: expected a LoRA checkpoint with adapter_config.json, found none", "Name a checkpoint-N folder"),
    "a pickled adapter": case(adapter("adapter_config.json", "adapter_model.bin"), "checkpoint: expected the adapter's weights in adapter_model.safetensors, found adapter_model.bin, a pickle", "save_pretrained"),
    "an adapter without optimizer": case(adapter(*ALL_FILES[:2]), "checkpoint: expected the optimizer's state in optimizer.pt or optimizer.bin, found none. Train with save_only_model=False"),
    "an adapter of another kind": case(adapter(*ALL_FILES, settings={"peft_type": "IA3"}), "adapter_config.json: expected an adapter of peft_type LORA, found 'IA3'. Train a LoRA adapter, or leave --adapter out"),
    "an adapter beside matrices": case(lambda place: place.walk("--adapter", place.here), "found matrices and --adapter. Leave one or the other out"),
    "train on a file that is not there": case(lambda place: place.train(place.here / "none.jsonl"), "none.jsonl: expected a file, found none; check the path"),
    "train on an unfinished run": case(lambda place: place.train(place.text("run/config.yaml", "pool: x\n").parent), "run: expected a finished run, with selected.messages.jsonl in it, found one without. Finish it with the same `g2is select` command"),
    "train on a bad row": case(lambda place: place.train(place.rows("data.jsonl", GOOD, "{")), "data.jsonl:2: expected a JSON object, found bad JSON", "set them aside with --set examples.on_bad_row=skip"),
    "train with a wrong setting": case(lambda place: place.train(place.target, flags=["--set", "tuning.epoch=3"]), "tuning.epoch: unknown; did you mean tuning.epochs?"),
    "train with a setting of select": case(lambda place: place.train(place.target, flags=["--set", "warmup.epochs=3"]), "warmup: unknown; known: data, out, model.name, "),
    "train an unknown LoRA target": case(lambda place: place.train(place.target, flags=["--set", "tuning.lora.target_modules=[q_prj]"]), "tuning.lora.target_modules: expected the name of a linear layer", "found 'q_prj'"),
    "train with a wild learning rate": case(lambda place: place.train(place.target, flags=set_flags({"tuning.learning_rate": "1e30", "tuning.max_grad_norm": "1e30", "tuning.lora.rank": "4"})), "expected a training that ends in numbers, found NaN or Inf in the adapter: it diverged. Lower the learning_rate"),
    "train without data": case(lambda place: place.train(), "g2is train: expected DATA (a run folder with a selection, or files of examples), found none"),
    "train into a file": case(lambda place: [*place.train(place.target)[:-1], place.text("a-file", "x")], "a-file: expected a training folder, found a file of that name; name another"),
    "export of a folder that is no run": case(lambda place: ["export", place.rows("a/b.jsonl", GOOD).parent], "a: expected a run folder with config.yaml and selection.parquet", "found none such"),
    "export of a folder that is not there": case(lambda place: ["export", place.here / "none"], "none: expected a run folder with config.yaml and selection.parquet", "found none such"),
    "export with a damaged selection": case(_exported(lambda place: place.text("copy/selection.parquet", "x")), "selection.parquet: expected a Parquet table as g2is writes it, but it cannot be read", "Remove it and give the command that made it again"),
    "export after the pool has changed": case(_exported(_other_pool), "pool.jsonl: expected the pool that ", "found the file changed. Put the old one back, or select again with another --out"),
    "inspect a file that is not there": case(lambda place: ["inspect", place.here / "none.csv"], "none.csv: expected a file, found none; check the path"),
    "inspect with an unknown schema": case(lambda place: ["inspect", place.pool, "--schema", "chatml"], "examples.layout: expected 'messages'", "found 'chatml'"),
    "inspect with a model that is none": case(lambda place: ["inspect", place.pool, "--model", place.pool.parent], "expected a Hugging Face model folder with config.json, found none there"),
}  # fmt: skip
