"""A prefix of a bucket, through obstore: the one file that knows it. Each failure is one message.

Requests are tried again for a while where the server cannot be reached or has an error of its own.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from g2is.errors import ConfigError, StoreError, UnreachableError

RETRIES = 8  # 0.1 s, 0.2 s … doubled: about half a minute, drawn at random around it
LONGEST = timedelta(minutes=2)  # that a request is tried again
# What names the server, where the URL does not.
ENDPOINTS = (
    *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    *("AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME"),
)
_GENERIC = re.compile(r"^Generic \w+ error: ")
_CODE = re.compile("<Code>(.*?)</Code>")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment (AWS_SESSION_TOKEN, AWS_REGION,"
    " AWS_ENDPOINT_URL where they are needed), or the role of the machine or pod; profiles of ~/.aws are read if boto3"
    " is installed",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS in the environment, `gcloud auth application-default login`, or the service"
    " account of the machine",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN in the environment, or"
    " the identity of the machine",
}
# Where obstore looks for a role when nothing else is there, and what it says of an account that is not named.
_NO_CREDENTIALS = (
    *("169.254.169.254", "/latest/api/token", "/latest/meta-data", "computemetadata", "/metadata/identity"),
    *("missingaccount", "account must be specified"),
)


_MADE_READY = "made ready"


class ChangedError(Exception):
    """An object is there that was not to be, or another than was named."""


@dataclass(frozen=True)
class Object:
    """What is told of an object: `version` (its ETag) is another as soon as its bytes are; `generation` is GCS's."""

    version: str
    size: int
    modified: datetime | None = None
    generation: str | None = None


class Bucket:
    """The objects below a URL, by their keys in it. Its methods raise StoreError, UnreachableError if nobody answers.

    They may be called from several threads at once.
    """

    def __init__(self, url: str) -> None:
        """Make ready for the URL; nothing is asked of the server yet.

        Raises ConfigError if obstore is not installed, StoreError if the URL or the environment's settings cannot be.
        """
        try:
            import obstore
            from obstore.store import from_url
        except ImportError as error:
            raise ConfigError(
                f"--store {url}: expected the package obstore, which reaches object storage, found it not installed or"
                f" not to be imported ({error}). Install it: pip install 'g2is[cloud]'"
            ) from None
        self.url, self._obstore, self._errors = url.rstrip("/"), obstore, obstore.exceptions
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=15), "base": 2}
        settings: dict[str, Any] = {
            "retry_config": {"max_retries": RETRIES, "retry_timeout": LONGEST, "backoff": backoff},
            "client_options": {"timeout": "120s", "connect_timeout": "10s"},
        }
        if any(value.startswith("http://") for value in (os.environ.get(name, "") for name in ENDPOINTS)):
            settings["client_options"]["allow_http"] = True  # as the endpoint says
        settings |= self._profile()
        with self._told(_MADE_READY):
            self._store: Any = from_url(self.url, **settings)

    @property
    def _scheme(self) -> str:
        return self.url.partition(":")[0]

    def _profile(self) -> dict[str, Any]:
        """Credentials from the files of ~/.aws, where the environment has none and what reads them is installed."""
        if self._scheme != "s3" or "AWS_ACCESS_KEY_ID" in os.environ:
            return {}
        with suppress(Exception):  # no boto3, or none that finds any: obstore looks for a role
            from obstore.auth.boto3 import Boto3CredentialProvider

            return {"credential_provider": Boto3CredentialProvider()}
        return {}

    def find(self, below: str = "") -> dict[str, Object]:
        """All objects whose keys begin with the folder `below`, by key."""
        found: dict[str, Object] = {}
        with self._told("listed", below):
            for page in self._obstore.list(self._store, below or None, chunk_size=1000):
                found |= {of["path"]: _object(of, of["size"]) for of in page}
        return found

    def put(self, key: str, content: bytes | Path, over: Object | None = None, new: bool = False) -> Object:
        """Store an object, whole or not at all.

        Raises ChangedError if it is to be `new` and is there already, or is to be put `over` one that it no longer is.
        """
        options: dict[str, Any] = {}
        if new:
            options = {"mode": "create", "use_multipart": False}
        elif over is not None:
            version = {"e_tag": over.version, **({"version": over.generation} if over.generation else {})}
            options = {"mode": version, "use_multipart": False}
        with self._told("written", key):
            try:
                done = self._obstore.put(self._store, key, content, **options)
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
                raise ChangedError(key) from None
        return _object(done, len(content) if isinstance(content, bytes) else content.stat().st_size)

    def get(self, key: str) -> tuple[bytes, Object]:
        """An object's bytes. Raises FileNotFoundError if there is none."""
        with self._told("read", key):
            found = self._obstore.get(self._store, key)
            return bytes(found.bytes()), _object(found.meta, found.meta["size"])

    def get_to(self, key: str, path: Path) -> Object:
        """Write an object's bytes to the file `path`. Raises FileNotFoundError if there is none."""
        with self._told("read", key):
            found = self._obstore.get(self._store, key)
            with path.open("wb") as file:
                for part in found.stream():
                    file.write(part)
            of = _object(found.meta, found.meta["size"])
        if path.stat().st_size != of.size:
            raise UnreachableError(
                f"{self.url}/{key}: expected {of.size} bytes, found the connection closed after {path.stat().st_size}."
                " Give the same command again"
            )
        return of

    def get_part(self, key: str, start: int, length: int) -> bytes:
        """So many bytes of an object from `start` on. Raises FileNotFoundError if there is none."""
        with self._told("read", key):
            return bytes(self._obstore.get_range(self._store, key, start=start, length=length))

    def delete(self, keys: list[str]) -> None:
        """Remove objects; one that is gone already is none to remove."""
        with self._told("removed", keys[0] if keys else ""), suppress(FileNotFoundError):
            if keys:
                self._obstore.delete(self._store, keys)

    @contextmanager
    def _told(self, done: str, key: str = "") -> Iterator[None]:
        """Tell in one message what kept something from being `done`."""
        place = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise self._no_bucket() from None
        except (StoreError, ChangedError, OSError):  # an OSError is of a file of this machine
            raise
        except (self._errors.BaseError, ValueError, TypeError, ImportError, RuntimeError) as error:
            raise self._message(error, done, place) from None
        except Exception as error:
            if not type(error).__module__.startswith(("botocore", "boto3")):
                raise
            raise self._message(error, done, place) from None

    def _no_bucket(self) -> StoreError:
        return StoreError(
            f"{self.url}: expected a bucket that exists, found none of that name. Make it, or name another --store"
        )

    def _message(self, error: Exception, done: str, place: str) -> StoreError:
        text = str(error)
        code = found.group(1) if (found := _CODE.search(text)) else ""
        told = " ".join(text.partition("Debug source")[0].partition("<?xml")[0].split())  # obstore adds pages to it
        told = _GENERIC.sub("", told)
        found_there = (told.rstrip(": ") or type(error).__name__) + (f": {code}" if code else "")
        lowered = text.lower()
        # before anything is asked of a server, all that can be wrong are settings of the environment
        if (
            done == _MADE_READY
            or any(words in lowered for words in _NO_CREDENTIALS)
            or "NoCredentials" in type(error).__name__
        ):
            return StoreError(
                f"{self.url}: expected credentials, found none that serve ({found_there}). What is looked for:"
                f" {_CREDENTIALS[self._scheme]}"
            )
        if "NoSuchBucket" in text or "The specified container does not exist" in text:
            return self._no_bucket()
        denied = isinstance(error, self._errors.PermissionDeniedError | self._errors.UnauthenticatedError)
        if (
            denied or "403 Forbidden" in told or "401 Unauthorized" in told
        ):  # a list is refused without a type of its own
            return NoLeaveError(
                f"{place}: expected leave for it to be {done}, found none ({found_there}). Check what the credentials"
                f" may do ({_CREDENTIALS[self._scheme]}), or name another --store"
            )
        if "redirect" in lowered or code in ("PermanentRedirect", "AuthorizationHeaderMalformed"):
            return StoreError(
                f"{self.url}: expected the bucket in the region that AWS_REGION names"
                f" ({os.environ.get('AWS_REGION', 'not set: us-east-1')}), found it in another ({found_there}). Set it"
                " to the bucket's"
            )
        if isinstance(error, self._errors.NotSupportedError) or "NotImplemented" in code:
            return StoreError(
                f"{place}: expected a server that can write an object only where none is (If-None-Match), so that no"
                f" two processes write at once, found one that cannot ({found_there}). Name another --store"
            )
        return UnreachableError(
            f"{place}: expected it to be {done}, found: {found_there}. What is stored stays: when the server can be"
            " reached again, give the same command, which goes on from here"
        )


class NoLeaveError(StoreError):
    """The server knows who asks, and does not let them."""


def _object(told: Mapping[str, Any], size: int) -> Object:
    modified = told.get("last_modified")
    return Object(told.get("e_tag") or (str(modified) if modified else ""), size, modified, told.get("version"))
