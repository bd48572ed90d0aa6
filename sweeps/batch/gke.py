"""Kubernetes Engine: an Indexed Job whose indexes are slices of one host, or a JobSet for each slice of several.

Of a slice of several hosts each machine runs shares of its own, so that nothing has to be in step; a JobSet keeps the
slice together nevertheless, for GKE gives and takes its machines together. There is one JobSet for each, so that none
waits for the others or fails with them.
"""

import json
import textwrap

from sweeps.batch.request import Batch
from sweeps.batch.worker import script

WORKER = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {worker}
data:
  worker.sh: |
{script}"""

JOB = """\
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
{queue}spec:
{suspend}{indexes}"""

JOBSET = """\
---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: {name}
{queue}  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool  # a slice is a node pool: no other in it
spec:
{suspend}  failurePolicy:
    maxRestarts: 0  # indexes are tried again one by one, below
  replicatedJobs:
  - name: slice
    replicas: 1
    template:
      spec:
{indexes}"""

QUEUE = """\
  labels:
    kueue.x-k8s.io/queue-name: {queue}
"""

PARTIAL = """\
  annotations:
    kueue.x-k8s.io/job-min-parallelism: "1"  # starts when there is room for one, with as many as there is room for
"""

SUSPEND = """\
  suspend: true  # until Kueue has room
"""

INDEXES = """\
completionMode: Indexed
completions: {hosts}  # an index for each {index}, JOB_COMPLETION_INDEX
parallelism: {parallelism}  # at once at most
backoffLimitPerIndex: 3  # failures of an index that are tried again
maxFailedIndexes: {failed}  # more, and all are stopped: it is no accident then
podReplacementPolicy: Failed  # one machine at a time for an index
podFailurePolicy:
  rules:  # the first that fits
  - action: FailIndex  # 2: the input is wrong, and would be again
    onExitCodes:
      operator: In
      values: [2]
  - action: Ignore  # 75: stopped, or waiting for runs that others train; goes on elsewhere, and is not counted
    onExitCodes:
      operator: In
      values: [75]
  - action: Ignore  # the machine was taken away
    onPodConditions:
    - type: DisruptionTarget
      status: "True"
template:
  spec:
    restartPolicy: Never
    terminationGracePeriodSeconds: 60  # a process that is told to stop needs up to 30 s
{account}    nodeSelector:
      cloud.google.com/gke-tpu-accelerator: {label}
      cloud.google.com/gke-tpu-topology: {topology}
{spot}    tolerations:
    - key: google.com/tpu
      operator: Exists
{tolerated}    containers:
    - name: worker
      image: {image}
      command: [bash, /batch/worker.sh]
{environment}      resources:  # all chips of the machine
        requests:
          google.com/tpu: "{chips}"
        limits:
          google.com/tpu: "{chips}"
      volumeMounts:
      - name: batch
        mountPath: /batch
    volumes:
    - name: batch
      configMap:
        name: {worker}
"""

SPOT = """\
      cloud.google.com/gke-spot: "true"
"""

TOLERATED = """\
    - key: cloud.google.com/gke-spot
      operator: Equal
      value: "true"
      effect: NoSchedule
"""

ENVIRONMENT = """\
      env:
      - name: SLICE_INDEX
        value: "{number}"
"""


def manifest(batch: Batch) -> tuple[str, str]:
    """The name of the manifest's file, and what it says."""
    several = batch.device.hosts > 1
    file, worker = ("jobset.yaml" if several else "job.yaml"), f"{batch.name}-worker"
    slice_ = "${SLICE_INDEX:?is set in jobset.yaml}" if several else "${JOB_COMPLETION_INDEX:?is set by Kubernetes}"
    host = "${JOB_COMPLETION_INDEX:?is set by Kubernetes}" if several else "0"
    text = "#!/usr/bin/env bash\n" + script(batch, slice_=slice_, host=host) + 'exit "$ended"\n'
    documents = WORKER.format(worker=worker, script=textwrap.indent(text, "    "))
    queue = QUEUE.format(queue=json.dumps(batch.queue)) if batch.queue else ""
    suspend = SUSPEND if batch.queue else ""
    for number in range(batch.slices) if several else [0]:
        indexes = _indexes(batch, worker, number if several else None)
        if several:
            fields = {"name": f"{batch.name}-{number}", "queue": queue, "suspend": suspend}
            documents += JOBSET.format(**fields, indexes=textwrap.indent(indexes, " " * 8))
        else:
            fields = {"name": batch.name, "queue": queue + (PARTIAL if queue else ""), "suspend": suspend}
            documents += JOB.format(**fields, indexes=textwrap.indent(indexes, " " * 2))
    return file, batch.head(*_told(batch, file, worker)) + documents


def _indexes(batch: Batch, worker: str, number: int | None) -> str:
    """The specification of a Job: of all slices, or of the one with a number."""
    hosts = batch.slices if number is None else batch.device.hosts
    return INDEXES.format(
        hosts=hosts,
        index="slice" if number is None else "host of the slice",
        parallelism=hosts if batch.parallelism is None else batch.parallelism,
        failed=max(hosts // 10, 1),
        account=f"    serviceAccountName: {json.dumps(batch.service_account)}\n" if batch.service_account else "",
        label=batch.device.label,
        topology=batch.device.topology,
        spot=SPOT if batch.spot else "",
        tolerated=TOLERATED if batch.spot else "",
        image=json.dumps(batch.image),
        environment="" if number is None else ENVIRONMENT.format(number=number),
        chips=batch.device.chips_per_host,
        worker=worker,
    )


def _told(batch: Batch, file: str, worker: str) -> list[str]:
    """What the file's head says."""
    kind, label = ("jobset", "jobset.sigs.k8s.io/jobset-name") if batch.device.hosts > 1 else ("job", "job-name")
    first = f"{batch.name}-0" if batch.device.hosts > 1 else batch.name
    each = f"{batch.device.hosts} × {batch.device.machine} with {batch.device.chips_per_host} chips"
    return [
        "",
        f"{batch.slices} slices of {batch.accelerator} ({each}), {batch.shares} shares. Kubernetes 1.29 or newer"
        + (", JobSet" if batch.device.hosts > 1 else "")
        + (", Kueue." if batch.queue else "."),
        "The service account of its pods needs to read and write the bucket (Workload Identity).",
        "",
        f"submit    kubectl apply -f {file}",
        f"watch     kubectl get {kind}; kubectl get pods -l {label}={first}; kubectl logs -l {label}={first}",
        f"resubmit  kubectl delete -f {file}; kubectl apply -f {file}   # what is stored is not trained again",
        f"delete    kubectl delete -f {file}   # the results stay in the workdir",
    ]
