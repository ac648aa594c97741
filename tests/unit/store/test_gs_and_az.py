"""`gs://` and `az://`: which of obstore's stores they open, and that each way of not reaching one is one message.

No server of theirs runs offline, so what they answer is not tested.
"""

import json
import os
from pathlib import Path

import pytest

from g2is.errors import StoreError, UnreachableError
from g2is.progress import Silent
from g2is.store import objects
from g2is.store.objects import Bucket
from g2is.store.reach import reached, record_of

NOBODY = "127.0.0.1:9"  # where nobody listens


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without settings of any provider, in which no metadata server is asked for long."""
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'g2is[cloud]')")
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "GCE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # gcloud keeps credentials there
    monkeypatch.setenv("GCE_METADATA_ROOT", NOBODY)
    monkeypatch.setenv("GCE_METADATA_HOST", NOBODY)
    monkeypatch.setenv("GCE_METADATA_IP", NOBODY)
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "RETRIES", 0)


def google_account(folder: Path) -> Path:
    """The file of a service account whose server is on this machine, and does not answer."""
    key = {"type": "service_account", "private_key": "none", "private_key_id": "1", "client_email": "a@b.invalid"}
    (folder / "account.json").write_text(
        json.dumps({**key, "gcs_base_url": f"https://{NOBODY}", "disable_oauth": True})
    )
    return folder / "account.json"


def use(provider: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Credentials of a provider, and a server of its that does not answer."""
    if provider == "gs":
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(google_account(folder)))
    else:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0LW9mLXRoZS10ZXN0cw==")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"http://{NOBODY}")


@pytest.mark.parametrize(("provider", "kind"), [("gs", "GCSStore"), ("az", "AzureStore")])
@pytest.mark.parametrize("prefix", ["", "/store", "/two/deep"])
def test_a_url_opens_the_store_of_its_provider_at_bucket_and_prefix(
    provider: str, kind: str, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(provider, monkeypatch, tmp_path)
    opened = Bucket(f"{provider}://bucket{prefix}/")._store
    assert type(opened).__name__ == kind
    assert (opened.prefix or "") == prefix.removeprefix("/")
    assert "bucket" in (opened.config.get("bucket"), opened.config.get("container_name"))


def refusal(url: str, kind: type[StoreError]) -> str:
    said = set()
    for reach in (lambda: reached(url, Silent()), lambda: record_of(url)):
        with pytest.raises(kind) as refused, reach():
            pass
        assert type(refused.value) is kind
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith(url)
        said.add(str(refused.value))
    return max(said)


@pytest.mark.parametrize("provider", ["gs", "az"])
def test_a_server_that_does_not_answer_is_one_message_without_the_secret(
    provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(provider, monkeypatch, tmp_path)
    found = refusal(f"{provider}://bucket/store", UnreachableError)
    assert "give the same command, which goes on from here" in found
    assert "c2VjcmV0" not in found


@pytest.mark.parametrize(
    ("provider", "given", "words"),
    [
        ("gs", {}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "gone.json"}, "gone.json"),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT": "cut.json"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": "no base 64"}, "Invalid Access"),
    ],
)
def test_credentials_that_are_missing_or_do_not_serve_are_one_message_that_says_where_they_are_looked_for(
    provider: str, given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cut.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = refusal(f"{provider}://bucket/store", StoreError)
    assert "expected credentials, found none that serve" in found
    assert words in found
    assert "What is looked for: " in found
