"""Runs tests/gpu, without pytest's plugins, and counts.

    python benchmarks/gpu/device_tests.py

Without a CUDA device every test says that it is skipped for that.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from common.measure import Figure, keep
from common.places import ROOT


def pytest(*more: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run tests/gpu with `more` flags of pytest's; `options` are those of subprocess.run.

    The project's own options are for plugins that may be absent; others that are there are of no use.
    """
    command = [
        *(sys.executable, "-m", "pytest", "tests/gpu", "-v", "-ra", "--durations=10"),
        *("-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider", *more),
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, **options)


def main() -> None:
    """Exits with 1 only if pytest could not run; tests that fail are figures."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        code = pytest(f"--junitxml={report}").returncode
        if code not in (0, 1) or not report.exists():
            sys.exit(f"expected pytest to run tests/gpu, found that it ended with {code}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case.attrib["name"] for case in cases if {part.tag for part in case} & {"failure", "error"}]
    skipped = {case.attrib["name"]: part.get("message") for case in cases for part in case if part.tag == "skipped"}
    num_passed = len(cases) - len(failed) - len(skipped)
    note = f"{num_passed} passed, {len(skipped)} skipped"
    figures = [Figure("tests/gpu: tests that fail", len(failed), 0, True, "", None, note)]
    keep("device_tests", False, "gpu/device_tests.py", figures, {"failed": failed, "skipped": skipped})


if __name__ == "__main__":
    main()
