"""Asks for known vulnerabilities in the versions of constraints.txt, by pip-audit, and says what was not looked up.

pip-audit on its own says "no known vulnerabilities found" where its database cannot be reached. Exit code 1 for a
finding, 0 for none; 0 too where nothing can be looked up, which is said.
"""

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def audit(command: list[str]) -> int:
    """Run pip-audit by `command`; print what it found; the exit code."""
    asked = [*command, "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        print(f"audit: skipped, for pip-audit cannot ask its database: {lines[-1]}")
        return 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [(package["name"], package["version"], hole) for package in packages for hole in package.get("vulns", ())]
    for name, version, hole in found:
        fixed = ", ".join(hole.get("fix_versions", ())) or "none"
        print(f"{name} {version}: {hole['id']}; fixed in {fixed}")
    if len(skipped) == len(packages):
        print(f"audit: skipped, for none of {len(packages)} packages could be looked up: the database is not reached")
        return 0
    print(f"audit: {len(packages) - len(skipped)} packages looked up, {len(found)} vulnerabilities")
    if skipped:
        print(f"audit: not looked up: {', '.join(skipped)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1:] or ["pip-audit"]))
