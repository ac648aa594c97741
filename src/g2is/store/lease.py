"""One process at a time on a store in object storage: an object `.lock` that one can make, and renews while it lives.

    .lock    {"command": "g2is select", "pid": 4711, "host": "gpu-3", "since":…, "machine": …, "token": …, "renewed": 7}

Empty, nobody holds it. A process that dies leaves it full: who finds it unchanged for LEASE seconds by its own clock,
or knows the process to be dead on this machine, takes it over. No two clocks are compared for that. Each change names
the version that it changes, so of two who try one succeeds; and a holder who was thought dead finds out before it
writes anything more.
"""

import json
import math
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from g2is.errors import FolderInUseError, G2isError, StoreError
from g2is.progress import Reporter
from g2is.store.lock import Holder, this_machine, this_process
from g2is.store.objects import Bucket, ChangedError, Object

LOCK = ".lock"
BEAT = 15.0  # seconds between two renewals
LEASE = 60.0  # seconds without one, after which a holder is taken for dead
_LOOKS = 0.5  # seconds between two looks of one who waits


class Lease:
    """The store's lock in the `bucket`, once `take` has succeeded."""

    def __init__(self, bucket: Bucket) -> None:
        """Nothing is held yet."""
        self._bucket = bucket
        self._token, self._count = uuid.uuid4().hex, 0
        self._who = {**this_process(), "machine": this_machine()}
        self._held: Object | None = None
        self._renewed = 0.0
        self._lost = ""
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._renew_again_and_again, daemon=True, name="g2is lease")

    def take(self, reporter: Reporter, wait: bool) -> None:
        """Hold the lock, or, with `wait`, wait until nobody does.

        Raises FolderInUseError naming who holds it, NoLeaveError if nothing may be written there.
        """
        said, seen, since = None, "", 0.0
        while not self._put(None):
            try:
                content, there = self._bucket.get(LOCK)
            except FileNotFoundError:  # removed at this moment
                continue
            if self._is_ours(content):  # the answer was lost
                self._held, self._renewed = there, _now()
                break
            lives = bool(seen) and seen != there.version
            if seen != there.version:
                seen, since = there.version, _now()
            holder = Holder.read(content)
            who = "" if holder is None else f" ({holder})"
            dead = _dead(content, holder, _now() - since)
            if dead is not None:
                if dead:
                    reporter.notice(f"{self._bucket.url}: {dead}; its lock{who} is taken over")
                if self._put(there):
                    break
                continue
            if not wait and (lives or 0 <= _age(there) < LEASE):  # by clocks that may differ; else it is looked at
                ago = 0.0 if lives else _age(there)
                raise FolderInUseError(
                    f"{self._bucket.url}: this store is in use by another g2is process{who}, whose last sign of life"
                    f" was {ago:.0f} s ago. Wait for it to end (--wait does; a dead one's lock is taken over"
                    f" {LEASE:.0f} s after its last sign of life), or name another --store"
                )
            if said != who:
                what = "waiting for its end" if wait else f"watching for a sign of life for {LEASE:.0f} s"
                reporter.notice(f"{self._bucket.url}: this store is in use by another g2is process{who}; {what}")
                said = who
            time.sleep(_LOOKS)
        self._beat.start()

    def check(self) -> None:
        """Raise StoreError if another process has taken the lock over; called before each write."""
        if self._held is not None and _now() - self._renewed > LEASE / 2:
            self._renew()
        if self._lost:
            raise StoreError(self._lost)

    def release(self, remove: bool) -> None:
        """Let the next one hold it; with `remove`, of a store of which nothing is left, leave no lock either.

        One that cannot be reached runs out by itself.
        """
        self._over.set()
        if not self._turn.acquire(timeout=BEAT):  # held by a renewal that nobody answers
            return
        try:
            if self._held is not None and not self._lost:
                with suppress(ChangedError, G2isError):
                    # not emptied before it is removed: who waits would take it, and then lose it
                    self._bucket.put(LOCK, self._content() if remove else b"", over=self._held)
                    if remove:
                        self._bucket.delete([LOCK])
            self._held = None
        finally:
            self._turn.release()

    def _put(self, over: Object | None) -> bool:
        try:
            self._held = self._bucket.put(LOCK, self._content(), over=over, new=over is None)
        except ChangedError:
            return False
        self._renewed = _now()
        return True

    def _renew(self) -> None:
        with self._turn:
            if self._held is not None and not self._lost:
                try:
                    self._held = self._bucket.put(LOCK, self._content(), over=self._held)
                    self._renewed = _now()
                except ChangedError:
                    self._look_who_has_it()

    def _look_who_has_it(self) -> None:
        holder = None
        with suppress(FileNotFoundError):
            content, there = self._bucket.get(LOCK)
            if self._is_ours(content):  # the answer to the renewal before was lost
                self._held, self._renewed = there, _now()
                return
            holder = Holder.read(content)
        by = "" if holder is None else f" by another g2is process ({holder})"
        self._lost = (
            f"{self._bucket.url}: expected the lock that this process holds, found it taken over{by}: it had given no"
            f" sign of life for {LEASE:.0f} s, or the lock was removed. Give the same command again when nobody uses"
            " the store: it goes on from there"
        )

    def _renew_again_and_again(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(StoreError):  # tried again; what writes next says so
                self._renew()

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({**self._who, "token": self._token, "renewed": self._count}).encode() + b"\n"

    def _is_ours(self, content: bytes) -> bool:
        with suppress(ValueError, TypeError, LookupError):
            return bool(json.loads(content)["token"] == self._token)
        return False


def words_in(bucket: Bucket) -> str:
    """What the lock of the store in `bucket` says of its holder, the same at each renewal; nothing if nobody has it."""
    with suppress(FileNotFoundError, ValueError, AttributeError):
        said = json.loads(bucket.get(LOCK)[0])
        return json.dumps({name: of for name, of in said.items() if name != "renewed"})
    return ""


def _dead(content: bytes, holder: Holder | None, unchanged: float) -> str | None:
    """Why a lock's holder is taken for dead, nothing if there is none; None if it may live."""
    if not content:
        return ""
    if holder is not None and holder.is_dead():
        return "the process that used this store has died"
    return f"the process that used this store gave no sign of life for {LEASE:.0f} s" if unchanged > LEASE else None


def _age(of: Object) -> float:
    """Seconds since the bucket says it was written; infinite where it says nothing, negative by a clock that is behind.

    Of use where it says that a holder lives, or how long ago it did.
    """
    return (datetime.now(UTC) - of.modified).total_seconds() if of.modified is not None else math.inf


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
