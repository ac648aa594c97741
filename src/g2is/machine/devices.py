"""Accelerators by name: what `g2is plan --devices` knows of each, and how several are asked for."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from g2is.errors import ConfigError

# A frozen model's forward and backward reach so much of a device's peak: assumed, as in docs/scaling.md.
SHARE_OF_PEAK = 0.35
_MOST_DIGITS = 6
_NAMED = re.compile(r"(?:([0-9]+)\s*[xX×*]\s*)?([A-Za-z][\w.+ -]*)", re.ASCII)
_MAKERS = re.compile(r"^(?:(?:NVIDIA|GEFORCE|AMD|INSTINCT|TESLA)[ -]*)+", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """An accelerator, by its data sheet.

    `memory_bytes`; `bfloat16` and `float32` are operations a second at its peak, dense, in that type (bfloat16 with
    sums in float32, float32 without tensor cores, which torch does not use for it unless told).
    """

    name: str
    memory_bytes: int
    bfloat16: float
    float32: float

    def flops(self, dtype: str) -> float:
        """Operations a second at the peak, where frozen weights are of `dtype`, float32 or one of 16 bits."""
        return self.float32 if dtype == "float32" else self.bfloat16


@dataclass(frozen=True)
class Devices:
    """So many of one device."""

    count: int
    device: Device

    def __str__(self) -> str:
        return f"{self.count} x {self.device.name}"


def _known() -> Iterator[Device]:
    # docs/plan.md says by what each line was checked.
    # name, GB (decimal, as data sheets have them: no device has less), TFLOP/s bfloat16 dense, float32
    for name, memory, bfloat16, float32 in (
        ("H100", 80, 989.4, 66.9),  # SXM; NVIDIA H100 data sheet: half of 1,979 with sparsity
        ("H100-PCIe", 80, 756.5, 51.2),  # the same: half of 1,513
        ("H100-NVL", 94, 835.5, 60),  # NVIDIA H100 NVL data sheet: half of 1,671
        ("H200", 141, 989.4, 66.9),  # SXM; NVIDIA H200 data sheet
        ("B200", 180, 2250, 75),  # NVIDIA HGX B200 data sheet: half of 4,500
        ("A100", 80, 312, 19.5),  # SXM; NVIDIA A100 data sheet
        ("A100-40GB", 40, 312, 19.5),  # the same
        ("A40", 48, 149.7, 37.4),  # NVIDIA A40 data sheet
        ("A10", 24, 125, 31.2),  # NVIDIA A10 data sheet
        ("A6000", 48, 154.8, 38.7),  # NVIDIA RTX A6000, GA102 white paper
        ("L40S", 48, 362.05, 91.6),  # NVIDIA L40S data sheet
        ("L4", 24, 121, 30.3),  # NVIDIA L4 data sheet: half of 242
        ("RTX3090", 24, 71, 35.6),  # NVIDIA GA102 white paper
        ("RTX4090", 24, 165.2, 82.6),  # NVIDIA Ada white paper
        ("RTX5090", 32, 209.5, 104.8),  # NVIDIA RTX Blackwell white paper
        ("MI300X", 192, 1307.4, 163.4),  # AMD Instinct MI300X data sheet
    ):
        yield Device(name, memory * 10**9, bfloat16 * 1e12, float32 * 1e12)


_ALSO_CALLED = {  # as _plain has them
    **dict.fromkeys(("H100SXM", "H10080GB", "H100SXM80GB", "H100SXM5"), "H100"),
    **dict.fromkeys(("A100SXM", "A10080GB", "A100SXM80GB", "A100SXM480GB"), "A100"),
    **dict.fromkeys(("H200SXM", "H200141GB"), "H200"),
}
KNOWN = {device.name: device for device in _known()}


def parse_devices(text: str) -> Devices:
    """What `8xH100`, or `H100` for one, names. Raises ConfigError listing the known where it names none.

    >>> str(parse_devices("8xH100")), str(parse_devices("a100-40gb")), str(parse_devices("2 x RTX 4090"))
    ('8 x H100', '1 x A100-40GB', '2 x RTX4090')
    """
    found = _NAMED.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"--devices: expected NxNAME such as 8xH100, found {text!r}; known are {', '.join(KNOWN)}")
    count, name = int(f"0{(found[1] or '1').lstrip('0')[: _MOST_DIGITS + 1]}"), found[2].strip()
    if count >= 10**_MOST_DIGITS:
        raise ConfigError(f"--devices: expected fewer than {10**_MOST_DIGITS:,} devices, found {text.strip()[:40]!r}")
    if count < 1:
        raise ConfigError(f"--devices: expected at least one device, found {text!r}; say 1x{name}, or more")
    device = named(name)
    if device is None:
        near = difflib.get_close_matches(_plain(name), [_plain(known) for known in KNOWN], n=1)
        hint = next((f"did you mean {known}? Known" for known in KNOWN if near == [_plain(known)]), "known")
        raise ConfigError(
            f"--devices: expected a device whose memory and speed are known, found {name!r}; {hint} are"
            f" {', '.join(KNOWN)}. Take the one nearest to yours"
        )
    return Devices(count, device)


def named(name: str) -> Device | None:
    """The device of that name, however it is written; None if it is not known."""
    name = _ALSO_CALLED.get(_plain(name), name)
    return next((device for known, device in KNOWN.items() if _plain(known) == _plain(name)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", _MAKERS.sub("", name.strip())).upper()
