"""Loopback ports that stay ours, whoever else runs at the same time."""

import random
import socket
from typing import Final

# Below the ports that Linux (32768 on) and macOS (49152 on) give to outgoing connections, so that
# none of those takes the port of a server that is down for a moment.
_FIRST: Final = 20_000
_LAST: Final = 32_000
_TRIES: Final = 500


class PortReservation:
    """A free TCP port of 127.0.0.1 that no other reservation on this machine gets until release.

    The claim is the UDP port of the same number: the kernel gives it to one process only, and takes
    it back when that process dies.
    """

    def __init__(self) -> None:
        choose = random.SystemRandom()  # tests seed the shared generator: they would all collide
        for _ in range(_TRIES):
            self.number = choose.randint(_FIRST, _LAST)
            self._claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._claim.bind(("127.0.0.1", self.number))
                _listen_for_a_moment(self.number)
            except OSError:
                self._claim.close()
            else:
                return
        raise OSError(f"found no free port from {_FIRST} to {_LAST} in {_TRIES} tries")

    def release(self) -> None:
        """Let others have the port; a second call changes nothing."""
        self._claim.close()


def _listen_for_a_moment(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        pass
