"""A device whose every time is known, on a clock that passes only when it is used."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats


@dataclass(frozen=True, kw_only=True)
class Device:
    """Seconds of a call: a stationary part (spread, two modes), and what differs from call to call.

    ``compiles`` are factors of the first calls, ``throttles`` is (calls before, further calls to most of the way, factor
    at its end), ``drift`` the rise over a run, ``falls_back`` (call, factor), ``cached`` the factor where the last call
    had the same arrays.
    """

    median_s: float = 0.01
    spread: float = 0.03
    shape: str = "normal"
    slow_share: float = 0.0
    slow_factor: float = 1.0
    compiles: tuple[float, ...] = ()
    throttles: tuple[int, int, float] | None = None
    drift: float = 0.0
    falls_back: tuple[int, float] | None = None
    cached: float = 1.0

    @property
    def jitter(self):
        return stats.norm(1, self.spread) if self.shape == "normal" else stats.lognorm(self.spread)

    def stationary(self, generator, size):
        """Times without any course, of that shape."""
        drawn = generator.normal(1, self.spread, size)
        drawn = drawn if self.shape == "normal" else np.exp(drawn - 1)
        return self.median_s * drawn * np.where(generator.random(size) < self.slow_share, self.slow_factor, 1)

    def course(self, calls):
        """The factor of each call of a run."""
        index = np.arange(calls)
        factor = 1 + self.drift * index / max(calls - 1, 1)
        factor[: len(self.compiles)] *= self.compiles[:calls]
        if self.throttles:
            before, further, most = self.throttles
            factor *= 1 + (most - 1) * (1 - np.exp(-np.maximum(index - before, 0) / further))
        if self.falls_back:
            at, by = self.falls_back
            factor[at:] *= by
        return factor

    def times(self, seed, runs, calls):
        """That many runs, one per row."""
        return self.stationary(np.random.default_rng(seed), (runs, calls)) * self.course(calls)

    def percentile_s(self, percentile):
        """The true percentile of the stationary part."""

        def below(seconds):
            fast, slow = (self.jitter.cdf(seconds / self.median_s / by) for by in (1, self.slow_factor))
            return (1 - self.slow_share) * fast + self.slow_share * slow - percentile / 100

        return optimize.brentq(below, self.median_s / 100, self.median_s * 100, xtol=1e-12)

    def but(self, **changed):
        return replace(self, **changed)


class Clock:
    """Seconds, and how much slower the whole machine becomes with each of them."""

    def __init__(self, slowing=0.0):
        self.now, self.slowing = 0.0, slowing

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds * (1 + self.slowing * self.now)


class Session:
    """A loaded device: each call moves the clock."""

    def __init__(self, device, clock, seed, calls=4096):
        self.device, self.clock, self.last, self.made = device, clock, None, 0
        self.seconds = device.times(seed, 1, calls)[0].tolist()

    def run(self, feeds):
        same = self.last is not None and self.last == feeds["x"]
        self.clock.spend(self.seconds[self.made] * (self.device.cached if same else 1))
        self.last, self.made = feeds["x"], self.made + 1
        return feeds
