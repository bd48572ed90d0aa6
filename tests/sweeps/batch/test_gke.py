"""Manifests are what Kubernetes and JobSet take, and say what was asked for."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from batches import BATCHES, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.batch import gke

SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "kubernetes.json").read_text())
OURS = {name: batch for name, batch in BATCHES.items() if batch.target == "gke"}


def documents(batch):
    return list(yaml.safe_load_all(gke.manifest(batch)[1]))


def wrong(document):
    """What the schema of its kind says against a document."""
    of_kind = {"ConfigMap": "V1ConfigMap", "Job": "V1Job", "JobSet": "JobSet"}[document["kind"]]
    schema = {**SCHEMA, "$ref": f"#/definitions/{of_kind}"}
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


def job_of(document):
    """The specification of the Job in a Job or JobSet."""
    spec = document["spec"]
    return spec["replicatedJobs"][0]["template"]["spec"] if document["kind"] == "JobSet" else spec


@pytest.mark.parametrize("name", OURS)
def test_manifests_are_what_the_schemas_say(name):
    for document in documents(OURS[name]):
        assert wrong(document) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "completionsMode"), "Indexed"),
        (("spec", "completions"), "4"),
        (("spec", "podFailurePolicy", "rules", 0, "action"), "FailIndices"),
        (("spec", "podFailurePolicy", "rules", 2, "onPodConditions", 0, "status"), True),
        (("spec", "template", "spec", "containers", 0, "command"), "bash"),
        (("spec", "template", "spec", "nodeSelector", "a"), 1),
        (("spec", "template", "spec", "terminationGracePeriod"), 60),
        (("apiVersion",), "batch/v2"),
    ],
)
def test_the_schema_notices(path, value):
    document = copy.deepcopy(documents(OURS["gke"])[1])
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (said,) = wrong(document)
    assert str(path[-1]) in said


@pytest.mark.parametrize("name", OURS)
def test_slices_hosts_and_chips_are_those_of_the_accelerator(name):
    batch = OURS[name]
    worker, *rest = documents(batch)
    assert len(rest) == (batch.slices if batch.device.hosts > 1 else 1)
    assert len({document["metadata"]["name"] for document in rest}) == len(rest)
    assert sum(job_of(document)["completions"] for document in rest) == batch.slices * batch.device.hosts
    for document in rest:
        job = job_of(document)
        assert job["completionMode"] == "Indexed"
        assert job["parallelism"] == (batch.parallelism or job["completions"])
        assert 1 <= job["maxFailedIndexes"] <= job["completions"]
        pod = job["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # podFailurePolicy takes no other
        assert pod["terminationGracePeriodSeconds"] > 30
        assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == batch.device.label
        assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == batch.device.topology
        (container,) = pod["containers"]
        for kind in ("requests", "limits"):
            assert container["resources"][kind] == {"google.com/tpu": str(batch.device.chips_per_host)}
        assert container["image"] == batch.image
        assert pod["volumes"][0]["configMap"]["name"] == worker["metadata"]["name"]


def test_what_is_tried_again_and_what_is_not():
    rules = job_of(documents(OURS["gke"])[1])["podFailurePolicy"]["rules"]
    codes = {rule["onExitCodes"]["values"][0]: rule["action"] for rule in rules if "onExitCodes" in rule}
    assert codes == {2: "FailIndex", 75: "Ignore"}
    assert [rule["action"] for rule in rules if rule.get("onPodConditions")] == ["Ignore"]


def test_a_queue_holds_the_work_back_and_without_one_nothing_does():
    for name, document in (("gke queue", 1), ("gke hosts", 1), ("gke hosts", 2)):
        found = documents(OURS[name])[document]
        assert found["spec"]["suspend"] is True
        assert found["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "tpus"}
    for document in documents(OURS["gke"])[1:]:
        assert "suspend" not in document["spec"]
        assert "labels" not in document["metadata"]


def test_spot_and_account_are_asked_for_where_they_were():
    pod = job_of(documents(OURS["gke queue"])[1])["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]
    assert pod["serviceAccountName"] == "trainer"
    assert "spot" not in json.dumps(documents(OURS["gke"]))


def test_slices_of_several_hosts_know_their_numbers():
    rest = documents(OURS["gke hosts"])[1:]
    told = [job_of(document)["template"]["spec"]["containers"][0]["env"] for document in rest]
    assert told == [[{"name": "SLICE_INDEX", "value": str(number)}] for number in range(2)]
    assert [document["spec"]["failurePolicy"] for document in rest] == [{"maxRestarts": 0}] * 2


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.isprintable))
def test_texts_of_users_stay_in_their_place(text):
    plain, told = documents(OURS["gke"]), documents(asked("gke", flags=("--recipe=quickstart", text), made_by=text))
    script, other = plain[0]["data"].pop("worker.sh"), told[0]["data"].pop("worker.sh")
    assert told == plain
    lines = [(a, b) for a, b in zip(script.split("\n"), other.split("\n"), strict=True) if a != b]
    assert all(a.startswith("command=(") and b.startswith("command=(") for a, b in lines)
