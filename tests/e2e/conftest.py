import pathlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from programs import Daemon, Programs

# A shell's background job ignores it, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Pair(NamedTuple):
    sharer: Daemon
    receiver: Daemon


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """A folder with a path short enough for a unix socket (107 bytes)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="qc2c-e2e-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def programs(folder: pathlib.Path) -> Iterator[Programs]:
    started = Programs(folder)
    yield started
    started.end_all()


@pytest.fixture
def pair(programs: Programs, folder: pathlib.Path) -> Pair:
    """A sharer and a receiver joined by a unix socket."""
    sharer = programs.sharer(f"unix:{folder}/sharer.sock")
    return Pair(sharer, programs.receiver(sharer.address, f"unix:{folder}/receiver.sock"))
