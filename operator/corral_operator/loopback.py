"""Where the processes of this machine listen: its own address, and a port that nobody has."""

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """One that is free now; another program may take it before its user has it. Raises OSError."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
