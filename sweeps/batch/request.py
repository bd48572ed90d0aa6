"""What a batch is: its parts, checked."""

import dataclasses
import re
from collections.abc import Collection

from jaxgen import FieldError
from sweeps.batch.accelerators import Accelerator, accelerator

TARGETS = {"gke": ("tpu",), "gcloud": ("tpu",), "slurm": ("gpu", "cpu")}
"""The batch systems, and the kinds of accelerators that each is asked for."""

MAX_SHARES = 10_000
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")  # of Kubernetes, where pods add to it
LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9.@]{0,251}[a-z0-9])?")
PLACE = re.compile(r"[a-z]([-a-z0-9:.]{0,61}[a-z0-9])?")  # zones, projects
URI = re.compile(r"(gs|s3)://[a-z0-9][-a-z0-9_.]+(/[^/]+)+/?")
COMPONENT = r"[a-z0-9]+(?:(?:[.]|_{1,2}|-+)[a-z0-9]+)*"
IMAGE = re.compile(  # the grammar of github.com/distribution/reference
    rf"(?:[A-Za-z0-9][-A-Za-z0-9.]*(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
BOUND = re.compile(r"/[^,:]+")
SWEEP = re.compile(r"(?!\.\.?/)([A-Za-z0-9_][-A-Za-z0-9_.]*/)*[A-Za-z0-9_][-A-Za-z0-9_.]*\.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """A sweep that a batch system runs in shares, a process for each.

    Share i of n is the work of process p on host h of slice s: i = (s · hosts + h) · processes + p.

    Args:
      target: "gke", "gcloud" or "slurm".
      accelerator: a name of the table, which one slice is.
      shares: how many in all; slices × hosts × processes.
      workdir: of the results: a URI, or with Slurm a directory that all of its machines see.
      flags: of the program that trains a share, without workdir and share.
      made_by: the command that asks for all this, for the heads of the files.
      image: the container; needed but for Slurm, whose machines run `python` without one.
      name: of the batch: small letters, digits and dashes, at most 40.
      processes: "host", one on each machine, which trains on all of its chips, or "chip", one for each chip.
      parallelism: how many slices at once at most; all when None.
      queue: of Kueue, which starts the work when there is room.
      spot: on machines that may be taken away at any time.
      service_account: who the work is, to whom the bucket is open.
      zone, project: of Cloud TPU.
      sweep_file: the user's Python file, relative to the directory that the image is built from.
      directory: where Slurm's machines start `python`.
      python: the interpreter there, or in the image.

    Raises:
      FieldError: a part is not allowed, or is for another target.
    """

    target: str
    accelerator: str
    shares: int
    workdir: str
    flags: tuple[str, ...]
    made_by: str
    image: str | None = None
    name: str = "sweep"
    processes: str = "host"
    parallelism: int | None = None
    queue: str | None = None
    spot: bool = False
    service_account: str | None = None
    zone: str | None = None
    project: str | None = None
    sweep_file: str | None = None
    directory: str = "."
    python: str = "python"

    def __post_init__(self) -> None:
        for field, value in dataclasses.asdict(self).items():
            for text in value if isinstance(value, tuple) else [value]:
                if isinstance(text, str) and not text.isprintable():
                    raise FieldError(field, text, "must be printable text on one line")
        _one_of("target", self.target, TARGETS)
        _one_of("processes", self.processes, ("host", "chip"))
        if self.device.kind not in TARGETS[self.target]:
            kinds = " or ".join(TARGETS[self.target])
            raise FieldError("accelerator", self.accelerator, f"is none that {self.target} is asked for: {kinds}")
        if self.processes == "chip" and self.device.kind != "tpu":
            raise FieldError("processes", "chip", "is for TPUs: elsewhere one trains on all devices of a machine")
        if not 1 <= self.shares <= MAX_SHARES:
            raise FieldError("shares", self.shares, f"must be a whole number in [1, {MAX_SHARES:,}]")
        if self.shares % self.processes_per_slice:
            each = self.processes_per_slice
            raise FieldError(
                "shares", self.shares, f"must be a multiple of {each}, the processes of a {self.accelerator}"
            )
        if self.parallelism is not None and not 1 <= self.parallelism <= self.slices:
            raise FieldError("parallelism", self.parallelism, f"must be in [1, {self.slices}], the number of slices")
        self._check_texts()
        self._check_target()

    def _check_texts(self) -> None:
        _matches("name", self.name, NAME, "must be at most 40 small letters, digits and dashes, a letter first")
        _matches("image", self.image, IMAGE, "must be the name of an image: host/path/name:tag")
        _matches("queue", self.queue, LABEL, "must be the name of a queue of Kueue")
        _matches("service_account", self.service_account, ACCOUNT, "must be the name of a service account")
        _matches("zone", self.zone, PLACE, "must be a zone as us-west4-a")
        _matches("project", self.project, PLACE, "must be the name of a project")
        if self.image is not None:
            what = "must lie under this directory, from which the image is built, in folders and under a name of"
            _matches("sweep", self.sweep_file, SWEEP, f"{what} letters, digits, dots, dashes and underscores")
        if self.target != "slurm" or "://" in self.workdir:
            allowed = "must be a URI that all machines reach: gs://bucket/folder, s3://… (bucket: 3 letters or more)"
            _matches("workdir", self.workdir, URI, allowed)
        elif self.image is not None:
            _matches(
                "workdir", self.workdir, BOUND, "must be a path without commas and colons, for a container sees it"
            )

    def _check_target(self) -> None:
        own = {
            "gke": ("image", "queue", "parallelism", "spot", "service_account"),
            "gcloud": ("image", "spot", "service_account", "zone", "project"),
            "slurm": ("image", "parallelism"),
        }[self.target]
        for field in ("image", "queue", "parallelism", "spot", "service_account", "zone", "project"):
            if field not in own and getattr(self, field):
                raise FieldError(field, getattr(self, field), f"is not for --target={self.target}")
        for field in {"gke": ["image"], "gcloud": ["image", "zone", "project"], "slurm": []}[self.target]:
            if getattr(self, field) is None:
                raise FieldError(field, None, f"is needed for --target={self.target}")
        if self.target == "gke" and self.parallelism is not None and self.device.hosts > 1:
            raise FieldError("parallelism", self.parallelism, "is for slices of one host: let --queue hold others back")

    @property
    def device(self) -> Accelerator:
        """What it runs on."""
        return accelerator(self.accelerator)

    @property
    def processes_per_host(self) -> int:
        """How many processes, each with a share, one machine runs."""
        return self.device.chips_per_host if self.processes == "chip" else 1

    @property
    def processes_per_slice(self) -> int:
        """And all machines of a slice."""
        return self.processes_per_host * self.device.hosts

    @property
    def slices(self) -> int:
        """How many slices all shares take."""
        return self.shares // self.processes_per_slice

    @property
    def in_cloud(self) -> bool:
        """Whether the workdir is on an object store."""
        return "://" in self.workdir

    @property
    def compiled(self) -> str:
        """Where compiled programs are kept, for all processes: beside the workdir."""
        return f"{self.workdir.rstrip('/')}-compiled"

    @property
    def command(self) -> list[str]:
        """What trains a share, but for `--share`."""
        return [self.python, "-m", "sweeps", "launch", *self.flags, f"--workdir={self.workdir}"]

    def head(self, *lines: str) -> str:
        """The comment that each file begins with."""
        return "".join(f"# {line}".rstrip() + "\n" for line in (f"{MARK}: {self.made_by}", *lines))


MARK = "Written by jaxgen batch"
"""How each file begins, after what runs it: such files are written anew, others never."""


def _one_of(field: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise FieldError(field, value, f"must be one of {', '.join(allowed)}")


def _matches(field: str, value: str | None, pattern: re.Pattern[str], allowed: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise FieldError(field, value, allowed)
