"""What a batch may be, and the table of accelerators."""

import math

import pytest
from batches import asked

from jaxgen import FieldError
from sweeps.batch.accelerators import ACCELERATORS, accelerator


@pytest.mark.parametrize("name", [name for name, row in ACCELERATORS.items() if row.kind == "tpu"])
def test_the_table_agrees_with_the_names(name):
    row, (family, number) = ACCELERATORS[name], name.split("-")
    cores = 2 if family in ("v4", "v5p") else 1  # Google counts them in the names of these
    assert row.chips * cores == int(number)
    assert math.prod(map(int, row.topology.split("x"))) == row.chips
    assert row.chips_per_host * row.hosts == row.chips
    assert row.machine.endswith(f"-{row.chips_per_host}t")
    assert row.hosts == 1 or row.chips_per_host == 4


def test_rows_as_published():
    """xpk's system_characteristics.py and Cloud TPU's pages on v5e and v6e."""
    row = accelerator("v5e-16")
    told = row.topology, row.hosts, row.chips_per_host, row.machine, row.label, row.cloud_type
    assert told == ("4x4", 4, 4, "ct5lp-hightpu-4t", "tpu-v5-lite-podslice", "v5litepod-16")
    row = accelerator("v6e-8")
    assert (row.topology, row.hosts, row.machine, row.runtime) == ("2x4", 1, "ct6e-standard-8t", "v2-alpha-tpuv6e")
    row = accelerator("v5p-16")
    assert (row.topology, row.hosts, row.chips, row.machine) == ("2x2x2", 2, 8, "ct5p-hightpu-4t")


def test_a_slice_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(FieldError, match=r"accelerator = 'v5litepod-8': did you mean v5e-8\?"):
        accelerator("v5litepod-8")
    with pytest.raises(FieldError, match="accelerator = 'abacus': must be one of v5e-1, "):
        accelerator("abacus")


@pytest.mark.parametrize(
    ("target", "other", "said"),
    [
        ("gke", {"target": "borg"}, "target = 'borg': must be one of gke, gcloud, slurm"),
        ("gke", {"accelerator": "gpu-1"}, "accelerator = 'gpu-1': is none that gke is asked for: tpu"),
        ("slurm", {"accelerator": "v5e-8"}, "accelerator = 'v5e-8': is none that slurm is asked for: gpu or cpu"),
        ("slurm", {"processes": "chip"}, "processes = 'chip': is for TPUs"),
        ("gke", {"processes": "core"}, "processes = 'core': must be one of host, chip"),
        ("gke", {"shares": 0}, "shares = 0: must be a whole number in [1, 10,000]"),
        ("gke", {"shares": 10_001}, "shares = 10001: must be a whole number in"),
        ("gke", {"processes": "chip"}, "shares = 4: must be a multiple of 8, the processes of a v5e-8"),
        (
            "gke",
            {"accelerator": "v5e-16", "shares": 6},
            "shares = 6: must be a multiple of 4, the processes of a v5e-16",
        ),
        ("gke", {"parallelism": 5}, "parallelism = 5: must be in [1, 4], the number of slices"),
        ("gke", {"parallelism": 0}, "parallelism = 0: must be in [1, 4]"),
        ("gke", {"accelerator": "v5e-16", "parallelism": 1}, "parallelism = 1: is for slices of one host"),
        ("gke", {"workdir": "/data/sweep"}, "workdir = '/data/sweep': must be a URI that all machines reach"),
        ("gke", {"workdir": "file:///data/sweep"}, "must be a URI that all machines reach"),
        ("gke", {"workdir": "gs://bucket"}, "workdir = 'gs://bucket': must be a URI"),
        ("gcloud", {"workdir": "sweep"}, "workdir = 'sweep': must be a URI"),
        ("slurm", {"workdir": "ftp://host/sweep"}, "must be a URI"),
        ("slurm", {"workdir": "/a:b", "image": "jaxgen"}, "workdir = '/a:b': must be a path without commas and colons"),
        ("gke", {"image": None}, "image = None: is needed for --target=gke"),
        ("gke", {"image": "host/jaxgen:1 --privileged"}, "image = 'host/jaxgen:1 --privileged': must be the name"),
        ("gke", {"image": "$(reboot)"}, "image = '$(reboot)': must be the name of an image"),
        ("gke", {"image": "Host/Jaxgen"}, "image = 'Host/Jaxgen': must be the name of an image"),
        ("gke", {"name": "My_sweep"}, "name = 'My_sweep': must be at most 40 small letters"),
        ("gke", {"name": "a" * 41}, "must be at most 40 small letters"),
        ("gke", {"queue": 'a"\n'}, "must be printable text on one line"),
        ("gke", {"queue": 'a", b: "c'}, "must be the name of a queue"),
        ("gke", {"service_account": "-rf /"}, "service_account = '-rf /': must be the name"),
        ("gke", {"zone": "us-west4-a"}, "zone = 'us-west4-a': is not for --target=gke"),
        ("gke", {"flags": ("--set=a=1\nreboot",)}, "flags = '--set=a=1\\nreboot': must be printable text on one line"),
        ("gke", {"made_by": "x\n- evil: true"}, "must be printable text on one line"),
        ("gke", {"sweep_file": "../mine.py"}, "sweep = '../mine.py': must lie under this directory"),
        ("gke", {"sweep_file": "a/../../mine.py"}, "must lie under this directory"),
        ("gke", {"sweep_file": "/etc/mine.py"}, "must lie under this directory"),
        ("gke", {"sweep_file": "a b/mine.py"}, "must lie under this directory"),
        ("gcloud", {"zone": None}, "zone = None: is needed for --target=gcloud"),
        ("gcloud", {"project": "; reboot"}, "project = '; reboot': must be the name of a project"),
        ("gcloud", {"queue": "tpus"}, "queue = 'tpus': is not for --target=gcloud"),
        ("slurm", {"spot": True}, "spot = True: is not for --target=slurm"),
    ],
)
def test_what_is_not_allowed_is_named(target, other, said):
    with pytest.raises(FieldError) as refused:
        asked(target, **other)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "image",
    ["jaxgen", "host:5000/jaxgen", "us-docker.pkg.dev/a-b/c_d/e.f:v1.0", "gcr.io/p/i@sha256:" + "0a" * 32, "a/b__c:X"],
)
def test_images_as_registries_name_them(image):
    assert asked("gke", image=image).image == image
