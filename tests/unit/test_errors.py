"""Pages that a message names can be opened by whoever reads it, wherever g2is is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import g2is
from g2is.errors import ConfigError, page, tells_of_memory, with_pages

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(g2is.__file__).parent
NAMED = sorted({name for path in SOURCE.rglob("*.py") for name in re.findall(r"docs/([\w/-]+)\.md", path.read_text())})


def test_messages_name_pages_that_are_there() -> None:
    assert len(NAMED) > 5
    missing = [name for name in NAMED if name != "NAME" and not (ROOT / f"docs/{name}.md").is_file()]
    assert not missing


def test_an_error_tells_where_the_page_lies() -> None:
    error = ConfigError("expected another layout (docs/formats.md); see docs/cluster/ray.md")
    assert str(error) == f"expected another layout ({page('formats')}); see {page('cluster/ray')}"
    assert page("formats").startswith("https://") or Path(page("formats")).read_text().startswith("# ")
    assert str(ConfigError(str(error))) == str(error)  # told once, however often it is passed on


@pytest.mark.parametrize(
    "text",
    [
        "/home/someone/docs/formats.md:3: expected JSON",
        "../docs/formats.md: expected JSON",
        "docs/no-such-page.md: expected JSON",
        "my-docs/formats.md: expected JSON",
    ],
)
def test_files_of_the_users_own_stay_what_they_are_called(text: str) -> None:
    assert with_pages(text) == text


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("Project-URL: Documentation, https://example.org/g2is/\n", "https://example.org/g2is/formats.html"),
        ("Project-URL: Paper, https://example.org/paper\n", "{installed}/g2is/docs/formats.md"),
    ],
)
def test_an_installed_package_names_its_address_or_the_file_that_came_with_it(
    metadata: str, expected: str, tmp_path: Path
) -> None:
    for name in ("__init__.py", "errors.py"):
        (tmp_path / "g2is").mkdir(exist_ok=True)
        shutil.copyfile(SOURCE / name, tmp_path / "g2is" / name)
    shutil.copytree(ROOT / "docs", tmp_path / "g2is/docs")  # as pyproject.toml puts it into the wheel
    (tmp_path / "g2is-9.dist-info").mkdir()
    (tmp_path / "g2is-9.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: g2is\nVersion: 9\n{metadata}")
    program = "from g2is.errors import page; print(page('formats'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == expected.format(installed=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Triton Error [CUDA]: out of memory",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_too_little_memory_is_known_by_what_torch_and_its_libraries_say_of_it(text: str) -> None:
    assert tells_of_memory(RuntimeError(text))
    assert not tells_of_memory(ValueError(text))
    assert not tells_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
