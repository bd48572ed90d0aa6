"""The container image that a batch runs in."""

import json
import shlex
from pathlib import PurePosixPath

from sweeps.batch.request import Batch

DOCKERFILE = """\
FROM python:3.11-slim
WORKDIR /app
COPY constraints.txt setup.cfg pyproject.toml README.md LICENSE ./
COPY jaxgen jaxgen
COPY sweeps sweeps
# The versions that the tests passed with, and {extra} for compiled programs on the bucket.
RUN pip install --no-cache-dir --constraint constraints.txt {packages}
"""


def dockerfile(batch: Batch) -> str:
    """The file that the image is built by, from the project's root."""
    builds = "cuda" if batch.device.kind == "gpu" else batch.device.kind
    wanted = [f".[{builds}]" if builds != "cpu" else "."]
    extra = "epath-s3" if batch.workdir.startswith("s3:") else "epath-gcs"
    wanted += [f"etils[{extra}]"] if batch.in_cloud else []
    text = DOCKERFILE if batch.in_cloud else DOCKERFILE.replace(", and {extra} for compiled programs on the bucket", "")
    text = text.format(extra=f"etils[{extra}]", packages=shlex.join(wanted))
    if batch.sweep_file is not None:
        folder = PurePosixPath(batch.sweep_file).parent
        text += "# The sweep, and the modules beside it, which it may import.\n"
        text += f"COPY {json.dumps([str(folder / '*.py'), f'{folder}/'])}\n"
    image = shlex.join([str(batch.image)])
    return (
        batch.head(
            "",
            "In the root of the project:",
            f"  docker build --file=DIR/Dockerfile --tag={image} . && docker push {image}   # DIR: where this file is",
        )
        + text
    )
