import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_settings_is_that_of_the_configuration() -> None:
    spec = importlib.util.spec_from_file_location("write_settings", ROOT / "scripts/write_settings.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (ROOT / "docs/settings.md").read_text() == script.page(), "run python scripts/write_settings.py"
