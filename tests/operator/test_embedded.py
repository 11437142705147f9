"""A Valkey server of one's own for a block: it is gone afterwards, whatever happened."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import redis

from corral.errors import CorralError
from corral_operator import embedded
from corral_operator.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path


def test_the_embedded_server_is_gone_after_its_block_even_when_that_fails() -> None:
    def block() -> None:
        with server, redis.Redis(port=server.port) as client:
            assert client.ping()
            assert server.folder.is_dir()
            raise ZeroDivisionError

    server = EmbeddedServer()
    with pytest.raises(ZeroDivisionError):
        block()
    assert not server.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_a_server_that_does_not_start_says_why_and_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho no memory; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "find_program", lambda: str(broken))
    server = EmbeddedServer()
    with pytest.raises(CorralError, match=r"did not start on port .*: no memory"):
        server.__enter__()
    assert not server.folder.exists()
