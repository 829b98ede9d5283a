"""One codec process for all of a module's tests, as a worker has one for all of its instances."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adit.deid.pixels.decoder import DecoderProcess


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    with DecoderProcess() as process:
        yield process
