"""A certificate for a server on the loopback, made when a test needs it."""

import ssl
import subprocess
from pathlib import Path


def make_certificate(folder: Path) -> ssl.SSLContext:
    """Make `ca.pem`, `cert.pem` and `key.pem`; return the context of a server that shows them."""
    key, made = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "ca.pem").write_bytes(made.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context
