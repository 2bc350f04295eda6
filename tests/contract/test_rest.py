"""REST as its OpenAPI document says it, fuzzed by schemathesis: no input makes an error of the server, and every answer
is one that the document allows.

Deterministic and bounded. It needs ELBOW_BIN (a folder with elbow-server) and ELBOW_TEST_DATABASE_URL; `cargo xtask test`
sets both.
"""

import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

EXAMPLES = 25
# Rules that go beyond a schema (a cluster must be registered, an ARN is of its account) refuse what the schema takes.
EXCLUDED = "positive_data_acceptance"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder, database = os.environ.get("ELBOW_BIN"), os.environ.get("ELBOW_TEST_DATABASE_URL")
    if not folder or not database:
        pytest.skip("ELBOW_BIN and ELBOW_TEST_DATABASE_URL are not set: run `cargo xtask test`")
    program = pathlib.Path(folder) / "elbow-server"
    token = f"elbow_{secrets.token_urlsafe(32)}"
    token_file = tmp_path_factory.mktemp("rest") / "token"
    token_file.write_text(token)
    environment = os.environ | {"ELBOW_DATABASE_URL": database}
    subprocess.run([program, "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
    rest, agents, admin = free_port(), free_port(), free_port()
    addresses = {"--api-address": rest, "--agent-address": agents, "--admin-address": admin}
    arguments = [word for flag, port in addresses.items() for word in (flag, f"127.0.0.1:{port}")]
    # AWS is where nobody listens: a request never calls it.
    arguments += ["--aws-endpoint-url", "http://127.0.0.1:9", "--admin-token-file", str(token_file)]
    log = open(token_file.parent / "server.log", "wb")
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    process = subprocess.Popen(
        [program, "serve", "--insecure-dev", *arguments], env=environment | credentials, stdout=log, stderr=log
    )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{admin}/readyz", log.name)
        url = f"http://127.0.0.1:{rest}"
        seed(url, token)
        yield url, token
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def wait_until_ready(process, url, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"elbow-server is not ready:\n{pathlib.Path(log).read_text()[-4000:]}")


def seed(url, token):
    """What the examples of the document name is there, so that operations are reached and not only their names judged."""
    arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb"
    place = {"account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "mode": "full"}
    for path, spec in {
        "clusters/east": place,
        "target-groups/web": {"arn": arn, "clusters": ["east"]},
        "clusters/east/bindings/shop/web": {"targetGroupArn": arn, "service": "web", "port": "80"},
    }.items():
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = json.dumps({"spec": spec}).encode()
        request = urllib.request.Request(f"{url}/v1/{path}", body, headers, method="PUT")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201, path


def test_no_input_makes_an_error_of_the_server_and_every_answer_is_documented(server, tmp_path):
    url, token = server
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/v1/openapi.json",
            "--header", f"Authorization: Bearer {token}",
            "--checks", "all", "--exclude-checks", EXCLUDED,
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", str(EXAMPLES), "--generation-deterministic",
            # A stream without end; the Rust tests follow it.
            "--exclude-operation-id", "followEvents",
            "--request-timeout", "40", "--suppress-health-check", "all", "--no-color",
        ],
        capture_output=True, text=True, timeout=600, cwd=tmp_path,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout[-12000:] + run.stderr[-4000:]
