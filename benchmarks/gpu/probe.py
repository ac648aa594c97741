"""What this machine has: a CUDA device or none, which packages, and wheels of those that it lacks."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What g2is imports for a run, and what single steps need beside it.
CORE = (
    *("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "sklearn", "pyarrow", "pydantic", "yaml"),
    *("zarr", "filelock", "huggingface_hub", "threadpoolctl", "typer", "rich", "jinja2"),
)
_OTHERS = ("pytest", "datasets", "bergson.__main__", "gguf", "bitsandbytes", "rapidfuzz")
# Those that ../shared/cuda/pack.sh does not pack, and what is to be beside its wheels (docs/performance.md says how).
_TO_ADD = {
    "bitsandbytes": "bitsandbytes>=0.49",
    "rapidfuzz": "rapidfuzz>=3.9",
    "bergson.__main__": "bergson jaxtyping wadler-lindig ml_dtypes natsort petname simple-parsing docstring-parser"
    " torchopt optree graphviz",
}
_PROGRAM = """
import importlib, json, platform, sys
missing = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.split(".")[0]
        needed = "" if error.name == package else f", which {package} needs"
        missing[name] = f"{error.name} is not installed{needed}"
    except Exception as error:
        missing[name] = f"{name} cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
found = {"versions": {"python": platform.python_version()}, "card": None, "missing": missing}
for name in ("torch", "transformers", "peft"):
    if name not in missing:
        found["versions"][name] = sys.modules[name].__version__
if "torch" not in missing and sys.modules["torch"].cuda.is_available():
    found["card"] = sys.modules["torch"].cuda.get_device_name(0)
print("found " + json.dumps(found))
"""


@dataclass(frozen=True)
class Machine:
    """What runs the steps: `card` is the device's name, None without one; `missing` packages, and why each is so."""

    card: str | None
    versions: str
    missing: dict[str, str]
    environment: dict[str, str]


def find_machine(site: Path | None) -> Machine:
    """Look in a process of its own, which imports everything that a step might."""
    environment = step_environment(site)
    command = [sys.executable, "-c", _PROGRAM, *CORE, *_OTHERS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("found ")), None)
    if line is None:
        sys.exit(
            f"expected python to say what it can import, found exit code {done.returncode}:\n{done.stderr[-2000:]}"
        )
    found = json.loads(line.removeprefix("found "))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    missing = {
        name: f"{why}; add to WHEELS=dir: pip download --no-deps {_TO_ADD[name]}" if name in _TO_ADD else why
        for name, why in found["missing"].items()
    }
    return Machine(found["card"], versions, missing, environment)


def step_environment(site: Path | None) -> dict[str, str]:
    """The environment of every step: this checkout's g2is before any other, no network."""
    paths = [*([str(site)] if site else []), str(ROOT / "src"), str(ROOT / "benchmarks")]
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    shared = os.environ.get("G2IS_SHARED") or str(find_shared())
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "G2IS_SHARED": shared,
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0"),  # figures are those of one device
        "PYTHONUNBUFFERED": "1",
    }


def find_shared() -> Path:
    """The real pool and models: beside the checkout, or in it."""
    beside, inside = ROOT.parent / "shared", ROOT / "shared"
    return inside if inside.is_dir() and not beside.is_dir() else beside


def install_wheels(wheels: Path, site: Path) -> Path:
    """Install the wheels to `site`, without a network, unless these very ones are there. Exits if pip refuses."""
    files = sorted(wheels.glob("*.whl"))
    names, record = "\n".join(file.name for file in files), site / ".wheels"
    if files and not (record.exists() and record.read_text() == names):
        print(f"installing {len(files)} wheels from {wheels} to {site}", flush=True)
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"),
            *("--disable-pip-version-check", "--upgrade", "--target", str(site), *map(str, files)),
        ]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"expected pip to install the wheels in {wheels}, found that it does not: see above")
        record.write_text(names)
    return site
