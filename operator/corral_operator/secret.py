"""The Secret that says where a pool's Redis is, read into a value. Pure.

    key                                    meaning
    ------------------------------------   ------------------------------------------------------------------------
    url                                    the whole address; goes before everything below
    host, port, username, password         the address in parts; host is needed, port is 6379 by default
    sentinels, master                      host:port, comma list, and the name of the primary they watch; go before host,
                                           with username and password
    ca.crt, tls.crt, tls.key               PEM; any of them makes the parts use TLS, and a url says it by rediss://

White space around a value is left out (`echo` ends it with a newline), and an empty value counts as absent.
Only these keys are read, so whatever else the Secret holds is left alone. No error and no repr shows a value.
"""

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from corral.url import (
    DEFAULT_PORT,
    build_sentinel_url,
    build_url,
    wrong_with_host,
    wrong_with_port,
    wrong_with_sentinels,
    wrong_with_url,
)

PARTS = ("host", "port", "username", "password")
SENTINEL_PARTS = ("sentinels", "master", "username", "password")
TLS_FILES = ("ca.crt", "tls.crt", "tls.key")

_KEYS = ("url", *PARTS, "sentinels", "master", *TLS_FILES)
_NEEDED = (
    "put the address into `url`, like redis://user:password@host:6379, or its parts into host, port, username, password; "
    "or sentinels and master"
)


class SecretProblem(ValueError):
    """The Secret does not say where Redis is. `cause` is a constant of the API, `text` says why and what to do."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause
        self.text = text


@dataclass(frozen=True, slots=True)
class RedisSecret:
    """Where Redis is, with everything that a connection needs."""

    url: str = field(repr=False)
    """With the credentials, also when the Secret holds parts."""
    parts: tuple[str, ...]
    """The keys that say the address: `url` alone, or which of host (sentinels, master), port, username, password there
    are."""
    ca: str | None = field(repr=False)
    """ca.crt, PEM."""
    cert: str | None = field(repr=False)
    """tls.crt, PEM."""
    key: str | None = field(repr=False)
    """tls.key, PEM."""
    digest: str
    """One-way, over what the used keys hold; another one means that pods must start anew."""
    known_as: Mapping[str, str] = field(default_factory=dict)
    """By host, the name that its certificate must hold, where the host was written otherwise."""

    @property
    def tls_files(self) -> tuple[str, ...]:
        """Which of ca.crt, tls.crt, tls.key there are."""
        there = (self.ca, self.cert, self.key)
        return tuple(name for name, text in zip(TLS_FILES, there, strict=True) if text is not None)


def read_secret(name: str, data: Mapping[str, str]) -> RedisSecret:
    """Read `data` of the Secret of this name: base64 text by key. Raises SecretProblem."""
    raw = {key: _decoded(name, key, text) for key in _KEYS if (text := data.get(key))}
    texts = {key: text for key, content in raw.items() if (text := _text(name, key, content))}
    _check_tls(name, texts)
    said = ("url",) if "url" in texts else SENTINEL_PARTS if "sentinels" in texts else PARTS
    parts = tuple(key for key in said if key in texts)
    if "url" in texts:
        url = texts["url"]
        if wrong := wrong_with_url(url):
            raise SecretProblem("SecretInvalid", f"Secret {name}: url is no Redis URL: {wrong}")
    else:
        url = _built(name, data, texts, tls=any(file in texts for file in TLS_FILES))
    return RedisSecret(
        url=url,
        parts=parts,
        ca=texts.get("ca.crt"),
        cert=texts.get("tls.crt"),
        key=texts.get("tls.key"),
        digest=_digest({key: raw[key] for key in (*parts, *TLS_FILES) if key in texts}),
    )


def seen_from_elsewhere(secret: RedisSecret, namespace: str) -> RedisSecret:
    """The same for a pod of another namespace than the Secret's: its pods find a Service of their own as plain `redis`.

    Ended by `svc`, so that no resolver ever looks for it outside of the cluster. The certificate is that of the plain
    name, which is all that the pods know.
    """
    parts = urlsplit(secret.url)
    if parts.scheme == "unix":
        return secret
    login, at, places = parts.netloc.rpartition("@")
    found = [place.partition(":") for place in places.split(",")]
    bare = {host for host, _, _ in found if _is_bare(host)}
    if not bare:
        return secret
    known_as = {f"{host}.{namespace}.svc": host for host in bare}
    full = {host: name for name, host in known_as.items()}
    netloc = ",".join(f"{full.get(host, host)}{colon}{port}" for host, colon, port in found)
    return replace(secret, url=parts._replace(netloc=f"{login}{at}{netloc}").geturl(), known_as=known_as)


def _is_bare(host: str) -> bool:
    return bool(host) and host != "localhost" and host.isascii() and not {".", "["} & set(host)


def _built(name: str, data: Mapping[str, str], texts: Mapping[str, str], *, tls: bool) -> str:
    login = texts.get("username", ""), texts.get("password", "")
    for key, other in (("sentinels", "master"), ("master", "sentinels")):
        if key in texts and other not in texts:
            raise SecretProblem(
                "SecretIncomplete",
                f"Secret {name} holds {key} without {other}; Sentinel needs both: where the sentinels are, and the name of "
                "the primary that they watch",
            )
    if "sentinels" in texts:
        if wrong := wrong_with_sentinels(texts["sentinels"]):
            raise SecretProblem("SecretInvalid", f"Secret {name}: sentinels {wrong}")
        return build_sentinel_url(texts["sentinels"], texts["master"], *login, tls=tls)
    if "host" not in texts:
        there = ", ".join(f"{key} (empty)" if key in _KEYS and key not in texts else key for key in sorted(data))
        raise SecretProblem(
            "SecretIncomplete",
            f"Secret {name} holds neither url nor host, only: {there or 'nothing'}; {_NEEDED}",
        )
    port = texts.get("port", DEFAULT_PORT)
    for key, wrong in (("host", wrong_with_host(texts["host"])), ("port", wrong_with_port(port))):
        if wrong:
            raise SecretProblem("SecretInvalid", f"Secret {name}: {key} {wrong}")
    return build_url(texts["host"], port, *login, tls=tls)


def _decoded(name: str, key: str, text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # Not chained, here and below: these errors show what they could not read.
        raise SecretProblem(
            "SecretInvalid",
            f"Secret {name}: {key} is not base64; under `data` values are encoded, under `stringData` not",
        ) from None


def _text(name: str, key: str, content: bytes) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise SecretProblem("SecretInvalid", f"Secret {name}: {key} is not UTF-8 text; write it anew") from None


def _check_tls(name: str, texts: Mapping[str, str]) -> None:
    for key in TLS_FILES:
        if key in texts and "-----BEGIN " not in texts[key]:
            raise SecretProblem(
                "SecretInvalid", f"Secret {name}: {key} is not PEM; it must hold a block -----BEGIN ... -----"
            )
    for key, other in (("tls.crt", "tls.key"), ("tls.key", "tls.crt")):
        if key in texts and other not in texts:
            raise SecretProblem(
                "SecretInvalid", f"Secret {name} holds {key} without {other}; a client certificate needs both"
            )


def _digest(contents: Mapping[str, bytes]) -> str:
    """Of what is there before white space is left out: another pod than ours may read it as it is."""
    hashed = hashlib.sha256()
    for key, content in contents.items():
        hashed.update(f"{key}={len(content)}:".encode() + content)
    return hashed.hexdigest()[:16]
