"""The certificates of a Secret as files, which is how TLS wants them. Nobody else may read them."""

import tempfile
from pathlib import Path

from corral.address import Tls
from corral.errors import ConfigurationError
from corral_operator.secret import RedisSecret


class Certificates:
    """Files for as long as connections may be made: until `close`. Raises ConfigurationError when there is no place."""

    def __init__(self, secret: RedisSecret) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.tls: Tls | None = None
        """None: the Secret has no certificates, and its hosts are known by their own names."""
        if secret.known_as:
            self.tls = Tls(known_as=secret.known_as)
        if secret.ca or secret.cert or secret.key:
            try:
                self._folder = tempfile.TemporaryDirectory(prefix="corral-redis-")  # of mode 0700
                self.tls = Tls(
                    self._file("ca.crt", secret.ca),
                    self._file("tls.crt", secret.cert),
                    self._file("tls.key", secret.key),
                    secret.known_as,
                )
            except OSError as error:
                self.close()
                raise ConfigurationError(
                    f"the certificates cannot be written to a temporary folder ({error.strerror}); make room in /tmp"
                ) from None

    def _file(self, name: str, pem: str | None) -> str | None:
        if pem is None or self._folder is None:
            return None
        path = Path(self._folder.name, name)
        path.touch(mode=0o600)
        path.write_text(pem)
        return str(path)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
