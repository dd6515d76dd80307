"""What unit tests share: a checkout to run, a cache of their own, and settings for it."""

import configparser
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from clip_bench.data import generated
from clip_bench.graphs import Calibration, Graph
from clip_bench.models import catalog, feeds, reference, weights
from clip_bench.settings import Settings
from clip_bench.specs import Tower
from clip_bench.store import Store

ROOT = Path(__file__).parents[2]

hypothesis.settings.register_profile("shared", deadline=None)  # a machine that others use too has no deadlines
hypothesis.settings.load_profile("shared")


if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a shell, and for all that is started there
    signal.signal(signal.SIGINT, signal.default_int_handler)

WORKER = os.environ.pop("PYTEST_XDIST_WORKER", "")  # a pytest that a test starts would inherit it, and time no cell


@pytest.fixture(scope="session", autouse=True)
def own_lock(tmp_path_factory):
    """What a test times waits for no run outside it, nor for another worker's."""
    os.environ["CLIP_BENCH_LOCKS"] = str(tmp_path_factory.mktemp("locks"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A store that no other run shares; what is built in it is built once, whichever worker of a run asks first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKER else base) / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tox():
    """tox.ini."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


@pytest.fixture(scope="session")
def begin(pytestconfig):
    """Start ``clip-bench`` in the checkout with these words, and these variables beside the test's own."""

    def begun(variables, *words):
        return subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-P", "-m", "clip_bench", *map(str, words)],
            cwd=pytestconfig.rootpath,
            env={**os.environ, "PYTEST_ADDOPTS": "", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begun


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder for PYTHONPATH with a third party's backend, installed."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "tests/unit/acme/fatal.py", folder)
    told = folder / "fatal-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: fatal\nVersion: 1.0\n", encoding="utf-8")
    (told / "entry_points.txt").write_text("[clip_bench.backends]\nfatal = fatal\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Thirty pictures with captions: data that takes no time."""
    folder = tmp_path_factory.mktemp("scenes")
    samples = generated.evaluation(0, 30, 64)
    rows = []
    for i, (picture, captions) in enumerate(zip(samples.pictures, samples.captions, strict=True)):
        picture.open().save(folder / f"{i}.png")
        rows.append({"file": f"{i}.png", "captions": captions})
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small(cache):
    """Settings for a run on few samples and two threads."""
    return Settings(
        models=("shapes_tiny",),
        full=False,
        samples=8,
        data=None,
        weights=None,
        threads=2,
        rounds=8,
        cache=cache,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """shapes_tiny with a little of everything that is made of it, in the store that the whole run shares."""

    store: Store
    source: weights.Source
    fed: feeds.Feeds
    reference: reference.Reference
    calibration: Calibration

    def graph(self, tower, batch=1):
        return Graph(
            source=self.source, tower=Tower(tower), store=self.store, calibration=lambda: self.calibration, batch=batch
        )

    def answers(self, session, tower):
        """What *session* answers to every evaluation call, stacked as the reference's are."""
        answers = [session.run(call) for call in self.fed.calls(Tower(tower))]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@pytest.fixture(scope="session")
def shapes(cache):
    """16 single objects and 16 scenes of three, their reference, and 32 other scenes to calibrate on."""
    spec = catalog.MODELS["shapes_tiny"]
    store = Store(cache)
    source = weights.Source(spec=spec, folder=None, store_root=cache)
    fed = feeds.make(spec, generated.evaluation(16, 16, spec.image_size))
    samples = generated.calibration(32, spec.image_size)
    images = feeds.images(spec, samples)
    tokens = feeds.tokens(spec, [captions[0] for captions in samples.captions])
    return Shapes(
        store=store,
        source=source,
        fed=fed,
        reference=reference.make(source, fed, store, threads=1),
        calibration=Calibration(image=images, tokens=tokens, sha256=feeds.digest([images, tokens])),
    )
