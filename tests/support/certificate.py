"""A certificate that no trust store knows, made by the openssl command, for tests that speak TLS."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

NAMES = "DNS:localhost,DNS:provider.test,IP:127.0.0.1,IP:::1"


def make_certificate(folder: Path) -> Path:
    """Make key and self-signed certificate for NAMES in one PEM file. Fails loudly where openssl is missing."""
    pem, key = folder / "upstream.pem", folder / "upstream.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", f"subjectAltName={NAMES}", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


def server_context(pem: Path) -> ssl.SSLContext:
    """What a server needs to present it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def client_context(pem: Path) -> ssl.SSLContext:
    """What a client needs to trust it, and nothing else."""
    return ssl.create_default_context(cafile=str(pem))
