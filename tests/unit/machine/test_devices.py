"""Devices by name, and how several are asked for."""

import pytest

from g2is.errors import ConfigError
from g2is.machine.devices import KNOWN, SHARE_OF_PEAK, named, parse_devices


@pytest.mark.parametrize(
    ("text", "count", "name"),
    [
        ("8xH100", 8, "H100"),
        ("8XH100", 8, "H100"),
        ("0000008xH100", 8, "H100"),
        ("8xA100-80GB", 8, "A100"),
        ("8xNVIDIA H100 80GB", 8, "H100"),
        ("H200 SXM", 1, "H200"),
        ("H100", 1, "H100"),
        (" 2 x a100 ", 2, "A100"),
        ("4×h200", 4, "H200"),
        ("16*RTX 4090", 16, "RTX4090"),
        ("1xNVIDIA H100-PCIe", 1, "H100-PCIe"),
        ("3xA100_40GB", 3, "A100-40GB"),
        ("2xAMD Instinct MI300X", 2, "MI300X"),
    ],
)
def test_a_number_and_a_name_however_they_are_written(text: str, count: int, name: str) -> None:
    found = parse_devices(text)
    assert (found.count, found.device.name, str(found)) == (count, name, f"{count} x {name}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected NxNAME such as 8xH100, found ''; known are H100, "),
        ("8x", "expected NxNAME such as 8xH100, found '8x'"),
        ("-2xH100", "expected NxNAME such as 8xH100, found '-2xH100'"),
        ("0xH100", "expected at least one device, found '0xH100'; say 1xH100, or more"),
        ("1000000xH100", "expected fewer than 1,000,000 devices, found '1000000xH100'"),
        (f"{'9' * 5000}xH100", "expected fewer than 1,000,000 devices, found '9999"),
        ("000xH100", "expected at least one device, found '000xH100'; say 1xH100, or more"),
        ("8xH10", "found 'H10'; did you mean H100? Known are H100, "),
        ("8xTPUv5", "expected a device whose memory and speed are known, found 'TPUv5'; known are H100, "),
        ("8xH100,2xA100", "expected NxNAME"),
        ("１xH100", "expected NxNAME"),
    ],
)
def test_what_is_none_is_told_with_those_that_are_known(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_devices(text)
    assert str(error.value).startswith("--devices: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_every_device_has_numbers_of_its_size_and_a_name_of_its_own() -> None:
    for name, device in KNOWN.items():
        assert named(name) is device
        assert 16e9 < device.memory_bytes < 1e12, name
        assert 1e13 < device.float32 < device.bfloat16 < 1e16, name
        assert device.flops("float32") == device.float32
        assert device.flops("bfloat16") == device.flops("float16") == device.bfloat16
    assert 0 < SHARE_OF_PEAK < 1
