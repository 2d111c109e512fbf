"""A broker whose certificate proves nothing is not talked to, unless the settings ask for it."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.flow.drains import start

# Enough for some attempts; a refused one is made again and again until then.
CONNECT_S = 10

NOT_VERIFIED = "the broker's identity is not verified"


def certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate, with its key in one file, for an IP address or a host."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    key, made, both = (folder / f"{name}.{end}" for end in ("key", "pem", "both"))
    kind = "IP" if name[0].isdigit() else "DNS"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext"]
    argv += [f"subjectAltName={kind}:{name}", "-keyout", str(key), "-out", str(made)]
    subprocess.run(argv, check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


@contextmanager
def tls_server(both: Path) -> Iterator[tuple[str, list[bool]]]:
    """Shake hands over TLS and say nothing else; give the address, and which handshakes worked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    worked: list[bool] = []
    kept: list[socket.socket] = []

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                kept.append(context.wrap_socket(client, server_side=True))
                worked.append(True)
            except OSError:
                worked.append(False)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", worked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in kept:
                with suppress(OSError):
                    each.close()


def test_certificate_is_verified_unless_the_settings_say_not(tmp_path: Path) -> None:
    """Self-signed or of another host: 78. Named by `ssl.ca.location`, or not verified: it talks."""
    ours, other = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "elsewhere.org")
    no_host = {"ssl.ca.location": other, "ssl.endpoint.identification.algorithm": "none"}
    cases: list[tuple[Path, dict[str, object], int, str]] = [
        (ours, {}, 78, "ssl.ca.location"),
        (other, {"ssl.ca.location": other}, 78, "ssl.ca.location"),
        (ours, {"ssl.ca.location": ours}, 75, "no answer"),
        (other, no_host, 75, NOT_VERIFIED),
        (ours, {"enable.ssl.certificate.verification": "false"}, 75, NOT_VERIFIED),
    ]
    runs = []
    with ExitStack() as stack:
        for number, (presented, settings, code, sentence) in enumerate(cases):
            config = tmp_path / f"{number}.toml"
            lines = "".join(f'"{key}" = "{value}"\n' for key, value in settings.items())
            config.write_text(f'[kafka]\n"security.protocol" = "ssl"\n{lines}', encoding="utf-8")
            address, worked = stack.enter_context(tls_server(presented))
            lake = tmp_path / f"lake{number}"
            running = start(address, lake, "lasair_x", config=config, connect_timeout=CONNECT_S)
            runs.append((worked, running.wait, code, sentence))
        ended = [(worked, wait(), code, sentence) for worked, wait, code, sentence in runs]
    for worked, finished, code, sentence in ended:
        assert finished.code == code, str(finished)
        assert sentence in finished.err, str(finished)
        assert (NOT_VERIFIED in finished.err) == (sentence == NOT_VERIFIED)
        # A run that ends may break off its last handshake.
        assert any(worked) == (code == 75)
