"""What a release is refused for, what is tried before one, and the lowest versions."""

import re
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import yaml

import g2is
from beside import TRAINERS
from check_release import ADDRESSES, disagreements, missing_addresses
from floors import floors

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def version() -> str:
    (found,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert isinstance(found, str)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that all say this version, with nothing left below Unreleased."""
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n## {version()}\n### Added\n- It.\n\n## 0.0.1\n- First.\n"
    )
    return tmp_path


def test_the_files_of_now_agree_on_the_version() -> None:
    found = disagreements(ROOT, f"v{version()}")
    assert [line for line in found if "nothing below Unreleased" not in line] == []  # what is not released yet is there


def test_a_tree_that_agrees_is_released(tree: Path) -> None:
    assert disagreements(tree, f"v{version()}") == []


@pytest.mark.parametrize("tag", ["v9.9.9", version(), f"V{version()}", f"v{version()}rc1", "v"])
def test_another_tag_is_refused(tag: str, tree: Path) -> None:
    (line,) = disagreements(tree, tag)
    assert line == f"tag: expected v{version()}, which is pyproject.toml's version, found {tag}"


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("CHANGELOG.md", f"## {version()}\n", "## 9.9.9\n", "found ['Unreleased', '9.9.9']"),
        ("CHANGELOG.md", "## Unreleased\n\n", "", "expected the headings Unreleased and"),
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n### Added\n- More.\n", "found '### Added'"),
        ("CITATION.cff", f"version: {version()}", "version: 9.9.9", "found 9.9.9"),
        ("CITATION.cff", f"version: {version()}\n", "", "found none"),
    ],
)
def test_what_says_another_version_is_refused_by_name(
    name: str, before: str, after: str, said: str, tree: Path
) -> None:
    text = (tree / name).read_text()
    assert before in text
    (tree / name).write_text(text.replace(before, after, 1))
    (line,) = disagreements(tree, f"v{version()}")
    assert line.startswith(f"{name}: expected ")
    assert said in line


def test_a_release_without_addresses_is_refused(tree: Path) -> None:
    project = tree / "pyproject.toml"
    text = project.read_text()
    head, _, rest = text.partition("[project.urls]\n")
    rest = rest.partition("\n\n")[2]
    project.write_text(f"{head}{rest}")
    assert [line.split()[5].rstrip(",") for line in missing_addresses(tree)] == list(ADDRESSES)
    lines = "".join(f'{name} = "https://example.org/{name}"\n' for name in ADDRESSES)
    project.write_text(f"{head}[project.urls]\n{lines}\n{rest}")
    assert missing_addresses(tree) == []
    project.write_text(f"{head}[project.urls]\n{lines.replace('https://example.org/Issues', 'TODO')}\n{rest}")
    (line,) = missing_addresses(tree)
    assert "to say Issues" in line
    assert "found TODO" in line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_use_actions_of_a_named_version_and_files_that_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", action) for action in used), used
    for script in re.findall(r"\bscripts/\w+\.py", text):
        assert (ROOT / script).is_file(), script
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:run: |\s)make (?:-C source )?([a-z]+)", re.sub(r"#.*", "", text)):
        assert re.search(rf"^{target}:", targets, flags=re.MULTILINE), target


def test_only_the_last_job_of_a_release_may_publish_and_all_others_come_first() -> None:
    jobs: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job or "environment" in job] == ["publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    before, left = set(jobs["publish"]["needs"]), set(jobs) - {"publish"}
    before |= {jobs[name]["needs"] for name in before}
    assert before == left


def test_ci_resolves_beside_every_trainer() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["resolves"]["strategy"]["matrix"]["trainer"] == list(TRAINERS)
    assert set(jobs["beside"]["strategy"]["matrix"]["trainer"]) <= set(TRAINERS)


def test_the_floors_are_those_of_the_package_and_its_extras_each_once() -> None:
    project = """
[project]
dependencies = ["One>=1.0", "two[a,b]>=2"]
[project.optional-dependencies]
more = ["three>=3.1.post1", "one>=1.0"]
dev = ["trl>=1.12"]
"""
    assert floors(project) == ["one==1.0", "two[a,b]==2", "three==3.1.post1"]


@pytest.mark.parametrize("of", ["one", "one==1", "one>=1,<2", "one>1", "one @ file:///x", "one>=1; python_version<'3'"])
def test_a_dependency_that_says_no_lowest_version_is_refused(of: str) -> None:
    with pytest.raises(ValueError, match="expected name>=version, found"):
        floors(f'[project]\ndependencies = ["{of}"]\n[project.optional-dependencies]\n')


def test_two_lowest_versions_of_one_package_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one lowest one, found 1 and \[x\]1"):
        floors('[project]\ndependencies = ["one>=1"]\n[project.optional-dependencies]\nmore = ["one[x]>=1"]\n')


def test_what_the_tests_need_is_pinned_and_no_pin_is_below_its_floor() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lowest = dict(re.sub(r"\[.*\]", "", line).split("==") for line in floors(text))
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {
        name.lower().replace("_", "-"): of for name, of in (line.split("==") for line in lines if line[:1] != "#")
    }
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {re.split(r"[\[>]", of)[0].lower() for of in asked} - set(pinned) == set()
    both = set(lowest) & set(pinned)
    assert {name for name in both if numbers(pinned[name]) < numbers(lowest[name])} == set()


def numbers(of: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", of)]


def test_a_clone_that_is_not_installed_has_a_version_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    assert g2is.__version__ == version()
    monkeypatch.setattr("g2is.machine.environment.version", absent)
    assert g2is.__version__ == "0+unknown"
