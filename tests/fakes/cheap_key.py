"""A restic repository whose password is quickly tried: only for tests that run restic often.

To make guessing slow, restic spends about half a second of computing on each command before
it can open its key. The key that this writes is wrapped in the same way (scrypt, AES-256 in
counter mode, Poly1305-AES), but with the cheapest scrypt that there is. Restic reads it as
any other; all else about the repository stays as `restic init` made it.
"""

import base64
import hashlib
import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

_PRIME = 2**130 - 5
_CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
_TAG = 16


def replace_key(repo: Path, password: str) -> None:
    """Replace the only key of a repository by a cheap one for the same password."""
    [file] = (repo / "keys").iterdir()
    key = json.loads(file.read_text())
    sealed = base64.b64decode(key["data"])
    plain = _cipher(_derive(key, password), sealed[:_TAG], sealed[_TAG:-_TAG])
    cheap = {**key, "N": 2, "r": 1, "p": 1}
    cheap["data"] = base64.b64encode(_seal(_derive(cheap, password), plain)).decode()
    content = json.dumps(cheap).encode()
    (repo / "keys" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    file.unlink()


def _derive(key: dict[str, Any], password: str) -> bytes:
    salt = base64.b64decode(key["salt"])
    return hashlib.scrypt(
        password.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], maxmem=1 << 28, dklen=64
    )


def _seal(key: bytes, plain: bytes) -> bytes:
    nonce = secrets.token_bytes(_TAG)
    text = _cipher(key, nonce, plain)
    return nonce + text + _authenticate(key[32:48], key[48:], nonce, text)


def _cipher(key: bytes, nonce: bytes, text: bytes) -> bytes:
    return _openssl("-aes-256-ctr", "-K", key[:32].hex(), "-iv", nonce.hex(), text=text)


def _authenticate(key: bytes, factor: bytes, nonce: bytes, text: bytes) -> bytes:
    """Return the Poly1305-AES tag."""
    point = int.from_bytes(factor, "little") & _CLAMP
    total = 0
    for start in range(0, len(text), 16):
        block = text[start : start + 16] + b"\1"
        total = (total + int.from_bytes(block, "little")) * point % _PRIME
    mask = _openssl("-aes-128-ecb", "-nopad", "-K", key.hex(), text=nonce)
    return ((total + int.from_bytes(mask, "little")) % 2**128).to_bytes(16, "little")


def _openssl(*arguments: str, text: bytes) -> bytes:
    command = ["openssl", "enc", *arguments]
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout
