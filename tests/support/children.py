"""Processes that train many sweeps at once and are killed: starting Python and tracing programs is paid once for all.

A process that has imported everything, and has no threads of XLA yet, is forked for each (`multiprocessing`'s
forkserver). A child trains in as many threads as it is told, one sweep after another in each, until a signal ends it.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

AHEAD = 64  # sweeps that each thread is given: more than it can train


def work(
    said: Connection, folder: str, threads: int, share: tuple[int, int] | None, environment: dict[str, str]
) -> None:
    """Trains sweeps folder/0, 1, … until the process ends; says "begun i" and "ended i" of each.

    The first SIGTERM has all of them stop as `interruptible.asked` stops that of the main thread; the process waits
    until they have. The second ends it as the programs end.
    """
    os.environ |= environment
    import jax

    jax.config.update("jax_num_cpu_devices", 1)
    from trials import train

    from sweeps import interruptible
    from sweeps.execution import plan

    plan.rehearse = lambda template, seen: None
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    asked: list = []

    @contextlib.contextmanager
    def signals(stop, grace=0.0):
        asked.append(stop)
        yield

    def stop(number, _):
        signal.signal(number, interruptible.end)
        for one in asked:
            one(number)
        said.send("asked")

    interruptible.asked = signals
    train(f"{folder}-warm", share=share)
    numbers, lock = iter(range(threads * AHEAD)), threading.Lock()
    ending = threading.Event()

    def sweep() -> None:
        while not ending.is_set():
            with lock:
                number = next(numbers)
                said.send(f"begun {number}")
            train(f"{folder}-{number}", share=share)
            with lock:
                said.send(f"ended {number}")

    signal.signal(signal.SIGTERM, lambda number, frame: (ending.set(), stop(number, frame)))
    workers = [threading.Thread(target=sweep, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(0.05)


def train_share(where: str, share: tuple[int, int], environment: dict[str, str]) -> None:
    """Trains a share of the sweep to its end."""
    os.environ |= environment
    from trials import train

    train(where, share=share)


@contextlib.contextmanager
def forked() -> Iterator[multiprocessing.context.ForkServerContext]:
    """Children that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sweeps", "sweeps.execution.launch", "trials", "children"])
    kept = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL")}
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}  # no threads of these
    try:
        yield context
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def killed(
    context: multiprocessing.context.ForkServerContext,
    rng: random.Random,
    folder: str,
    threads: int,
    share: tuple[int, int] | None,
    twice: bool = False,
    environment: dict[str, str] | None = None,
) -> tuple[list[str], int]:
    """Trains in a child and kills it at a random moment.

    Args:
      context: of `forked`.
      rng: when.
      folder: what names of workdirs begin with.
      threads: how many sweeps are trained at once.
      share: of each sweep, which is trained.
      twice: by SIGTERM, and again a moment later, instead of SIGKILL.
      environment: variables that the child has too.

    Returns:
      The workdirs in which it was training then, and its exit code.
    """
    mine, its = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(its, folder, threads, share, environment or {}), daemon=True)
    child.start()
    its.close()
    texts = [mine.recv()]  # the first sweep has begun: all is compiled
    time.sleep(rng.uniform(0.05, 1.5))
    if twice:
        os.kill(child.pid, signal.SIGTERM)
        time.sleep(rng.choice([0.0, rng.uniform(0, 0.05), rng.uniform(0, 0.5)]))
        with contextlib.suppress(ProcessLookupError):  # all had stopped by then
            os.kill(child.pid, signal.SIGTERM)
    else:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    with contextlib.suppress(EOFError):
        while True:
            texts.append(mine.recv())
    mine.close()
    begun, ended = ({text.split()[1] for text in texts if text.startswith(what)} for what in ("begun", "ended"))
    at = begun if twice else begun - ended
    return [f"{folder}-{number}" for number in sorted(at, key=int)], child.exitcode
