"""A server that speaks S3, in this process: moto's, which keeps its objects in memory."""

import contextlib
import logging
import os
import urllib.request
from collections.abc import Iterator

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # or keys are looked for on the network
}


@contextlib.contextmanager
def served() -> Iterator[dict[str, str]]:
    """A server with a bucket called "bucket": the environment in which `s3://bucket/…` is there."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    there = KEYS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    kept = {name: os.environ.get(name) for name in there}
    os.environ |= there
    try:
        bucket = urllib.request.Request(f"{there['AWS_ENDPOINT_URL']}/bucket", method="PUT")
        urllib.request.urlopen(bucket).close()
        yield there
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()
