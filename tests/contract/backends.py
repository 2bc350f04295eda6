"""Starts the two servers that the flow runs against, and talks to awssim's admin API."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.config import Config

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
START_WITHIN_SECONDS = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def awssim_binary():
    """AWSSIM_BIN, or what the last `cargo build -p awssim` left behind."""
    named = os.environ.get("AWSSIM_BIN")
    if named:
        return named
    built = REPOSITORY / "target" / "debug" / "awssim"
    if not built.exists():
        pytest.exit("build awssim first (cargo build -p awssim) or name it in AWSSIM_BIN", returncode=2)
    return str(built)


class Server:
    """A process that listens on loopback; stopped at the end."""

    name = ""

    def __init__(self, command, url):
        self.url = url
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_it_listens()

    def _wait_until_it_listens(self):
        address = urllib.parse.urlsplit(self.url)
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while True:
            try:
                socket.create_connection((address.hostname, address.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} did not start on {self.url}") from None
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)

    def client(self, service, region="eu-central-1", account="111122223333", verify=None, **config):
        """A client that leaves every judgement to the server and tries once."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=account,
            aws_secret_access_key="secret",
            verify=verify,
            config=Config(parameter_validation=False, retries={"total_max_attempts": 1}, **config),
        )

    def advance(self, seconds):
        """Lets time pass for the server, where it can be moved."""


class Awssim(Server):
    name = "awssim"

    def __init__(self, *options):
        url = f"http://127.0.0.1:{free_port()}"
        super().__init__([awssim_binary(), "--listen", url.removeprefix("http://"), *options], url)

    def admin(self, method, path, body=None, expect=(200, 201, 204)):
        request = urllib.request.Request(
            f"{self.url}/_awssim{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        assert status in expect, f"{method} {path}: {status} {text}"
        return json.loads(text) if text else None

    def advance(self, seconds):
        self.admin("POST", "/clock/advance", {"by": f"{seconds}s"})


class Moto(Server):
    name = "moto"

    def __init__(self):
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        super().__init__(command, f"http://127.0.0.1:{port}")
