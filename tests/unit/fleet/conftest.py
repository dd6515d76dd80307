"""A Ray cluster of processes on this machine: a head without devices, and nodes that a test starts and kills."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from tempfile import mkdtemp

import pytest
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo

LONGEST_S = 300
SECOND = ("fatal-good-cpu", "fatal-wrong-cpu", "torch-cpu")  # of the node that tests kill
START = (
    "-m",
    "ray.scripts.scripts",
    "start",
    "--block",
    "--node-ip-address=127.0.0.1",
    "--object-store-memory=90000000",
)


class Fleet:
    """The cluster: its address, and the nodes that live, each a process group of ``ray start --block``."""

    def __init__(self, variables):
        self.variables = variables
        self.folder = mkdtemp(prefix="r")  # short: sockets lie in it, whose paths have 107 characters at most
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.nodes = {}
        port = self.address.rpartition(":")[2]
        self._start(
            "head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}", "--num-cpus=0"
        )
        try:
            self._until(0)
        except BaseException:
            self.close()
            raise

    def _start(self, name, *options):
        self.nodes[name] = subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, *START, *options],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, name, *targets, cpus=1):
        """Start a node that offers *targets*, and wait until the cluster knows it."""
        living = self.living()
        offers = json.dumps(dict.fromkeys(targets, 1))
        self._start(name, f"--address={self.address}", f"--num-cpus={cpus}", f"--resources={offers}")
        self._until(living + 1)

    def kill(self, name):
        """SIGKILL to all processes of a node; the workers of Ray, in groups of their own, end when they miss it."""
        process = self.nodes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def living(self):
        """How many nodes the cluster has beside its head, or -1 where nobody answers."""
        host, _, port = self.address.partition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return -1
        known = GcsClient(address=self.address).get_all_node_info().values()  # ray.nodes() needs a process of its own
        return sum(each.state == GcsNodeInfo.ALIVE for each in known) - 1

    def _until(self, count):
        limit = time.monotonic() + LONGEST_S
        while self.living() != count:
            assert time.monotonic() < limit, f"no {count} nodes"
            time.sleep(0.2)

    def close(self):
        for name in list(self.nodes):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def variables(cache, site, own_lock):  # noqa: ARG001  which is in the environment
    """What the processes of a fleet are told by their environment."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "CLIP_BENCH_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_AUTH_MODE": "disabled",  # whatever token this user has for another cluster
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "240",
    }


@pytest.fixture(scope="session")
def second():
    """What the node that is killed offers."""
    return SECOND


@pytest.fixture(scope="session")
def fleet(variables):
    """A head and three nodes, some of which share a target."""
    with ExitStack() as stack:
        made = Fleet(variables)
        stack.callback(made.close)
        made.add("a", "null-cpu", "fatal-good-cpu", "torch-cpu")
        made.add("b", *SECOND)
        made.add("c", "fatal-leaves-cpu", "torch-cpu")
        yield made
