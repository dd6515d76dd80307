"""What two cells' interleaved blocks say is right as often as it claims, on a device whose truth is known."""

from itertools import count

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.record import Paired
from clip_bench.timing.paired import CACHED, LEAST, Side, interval, measure, ratio, resamples

RUNS = 1000
GROUPS = 8


@pytest.fixture
def compare(virtual):
    """One measurement: a device that is *times* as fast as the reference, on a machine that slows down if told to."""

    def measured(seed, *, times=1.0, slowing=0.0, groups=GROUPS, counted=3, **own):
        clock = virtual.Clock(slowing)
        slow = virtual.Device(median_s=0.01)
        fast = virtual.Device(**{"median_s": 0.01 / times, **own})
        calls, never = 4 * groups * (counted + 1) + 1, count()
        sides = [
            Side(session=virtual.Session(device, clock, (seed, which), calls), unseen=({"x": n} for n in never))
            for which, device in enumerate((slow, fast))
        ]
        settings = {"groups": groups, "counted": counted, "uncounted": 1, "seed": seed, "clock": clock}
        return measure("slow", *sides, {"x": -1}, **settings)

    return measured


def differences(paired, one, other):
    logs = (np.log(getattr(paired, arm)).reshape(-1, 2).mean(axis=1) for arm in (one, other))
    return next(logs) - next(logs)


def intervals(made, one, other, counts=None):
    """The 95 % interval of each measurement, as ratio() takes it."""
    counts = resamples(GROUPS, 0) if counts is None else counts
    return [interval(differences(each, one, other), counts, 0.95) for each in made]


def covers(told, true):
    return float(np.mean([each.low <= true <= each.high for each in told]))


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("times", "course"),
    [(1.05, {}), (2.0, {"shape": "lognormal", "spread": 0.2}), (1.0, {"slow_share": 0.5, "slow_factor": 1.3})],
    ids=["close", "heavy", "modes"],
)
def test_the_interval_holds_the_true_ratio_in_93_runs_of_100(compare, virtual, times, course):
    """The truth of lower quartiles of three calls is that of the two devices' own, told by a long run of each."""
    made = [compare(seed, times=times, **course) for seed in range(RUNS)]
    blocks = [np.quantile(d.times(9, 200_000, 3), 0.25, axis=1) for d in (virtual.Device(), virtual.Device(**course))]
    true = times * np.exp(np.log(blocks[0]).mean() - np.log(blocks[1]).mean())

    speedups, nulls = intervals(made, "reference_s", "own_s"), intervals(made, "reference_s", "again_s")

    assert 0.93 <= covers(speedups, true) <= 0.98
    assert covers(speedups, true * 1.1) <= 0.6
    assert np.mean([null.excludes_one for null in nulls]) <= 0.07


@pytest.mark.simulation
def test_a_machine_that_slows_down_by_half_moves_the_ratio_by_nothing(compare):
    """The same blocks without their mirror, each arm by itself in a row, would be 12 % off."""
    made = [compare(seed, times=1.05, slowing=0.2) for seed in range(RUNS)]

    spans = [each.again_s[-1] / each.again_s[0] for each in made]
    speedups = intervals(made, "reference_s", "own_s")

    assert np.mean(spans) >= 1.4
    assert covers(speedups, 1.05) >= 0.93
    assert np.mean([np.log(each.value / 1.05) for each in speedups]) == pytest.approx(0, abs=0.002)


@pytest.mark.simulation
def test_a_device_that_caches_is_caught_and_an_honest_one_is_not(compare):
    """Caught: 20 % faster on one thing over and over. Not: honest, or 5 % faster; the speed-up has no part in it."""
    made = {factor: [compare(seed, times=1.5, cached=factor) for seed in range(RUNS)] for factor in (0.8, 0.95, 1.0)}

    caught = {
        factor: np.mean([each.low > CACHED for each in intervals(some, "own_s", "repeated_s")])
        for factor, some in made.items()
    }

    assert caught[0.8] >= 0.97
    assert caught[0.95] <= 0.01
    assert caught[1.0] == 0
    assert all(ratio(each).caches for each in made[0.8][:5])
    assert not any(ratio(each).caches for each in made[1.0][:5])


@pytest.mark.simulation
def test_the_arm_of_known_truth_tells_its_false_positives_and_the_least_effect(compare):
    """An effect as small as told is seen in 80 % of runs: measured 80 %."""
    told = [ratio(compare(seed)) for seed in range(100)]
    least = float(np.mean([each.smallest_percent for each in told]))
    seen = intervals([compare(1000 + seed, times=1 + least / 100) for seed in range(RUNS)], "reference_s", "own_s")

    assert 0.03 <= np.mean([each.false_positives for each in told]) <= 0.07
    assert 0.73 <= np.mean([each.excludes_one for each in seen]) <= 0.87
    assert np.mean([each.null.excludes_one for each in told]) <= 0.1


@pytest.mark.simulation
def test_the_normal_interval_covers_at_every_number_of_groups():
    """95 % within the error of 1000 simulations, where the percentile bootstrap covers 81 to 92 %."""
    for groups in (LEAST, 8, 12, 16):
        counts, drawn = resamples(groups, 0), np.random.default_rng(groups).normal(0.1, 1, (RUNS, groups))
        told = [interval(row, counts, 0.95) for row in drawn]
        assert 0.93 <= covers(told, np.exp(0.1)) <= 0.975, groups


def test_a_group_is_a_random_order_and_its_mirror():
    """Four arms in two sessions: the order of the first half of each group is that of the second, reversed."""
    seen = []

    class Noting:
        def __init__(self, name):
            self.name = name

        def run(self, feeds):
            seen.append((self.name, feeds["x"]))

    sides = [
        Side(session=Noting(name), unseen=({"x": n} for n in count(begin))) for name, begin in (("a", 0), ("b", 1000))
    ]

    told = measure("a", *sides, {"x": -1}, groups=6, counted=2, uncounted=1, seed=3, clock=map(float, count()).__next__)

    blocks = [seen[i : i + 3] for i in range(0, len(seen), 3)]
    kinds = ["same" if block[0][1] == -1 else block[0][0] for block in blocks]
    groups = [kinds[i : i + 8] for i in range(0, len(kinds), 8)]
    fresh = [call for call in seen if call[1] != -1]
    assert len(groups) == 6
    assert all(group[:4] == group[:3:-1] for group in groups)
    assert len({tuple(group) for group in groups}) > 2
    assert all(kinds.count(kind) == number for kind, number in (("a", 24), ("b", 12), ("same", 12)))
    assert len(set(fresh)) == len(fresh)
    assert all(len({name for name, _ in block}) == 1 for block in blocks)
    assert told.reference_s == told.own_s == told.again_s == told.repeated_s == (1.0,) * 12
    assert (told.reference, told.counted, told.uncounted) == ("a", 2, 1)


def test_uncounted_calls_count_for_nothing(virtual):
    clock = virtual.Clock()
    device = virtual.Device(spread=1e-9)

    class Waking(virtual.Session):
        def run(self, feeds):
            clock.spend(1.0 if feeds.get("first") else 0.0)
            return super().run(feeds)

    fed = ({"x": n, "first": n % 3 == 0} for n in count())
    side = Side(session=Waking(device, clock, 1), unseen=fed)

    told = measure("a", side, side, {"x": -1}, groups=4, counted=2, uncounted=1, seed=0, clock=clock)

    assert max(told.reference_s + told.own_s + told.again_s) < 0.011


def test_times_that_all_agree_have_an_interval_without_width():
    told = ratio(arms(own=0.5))

    assert (told.speedup.value, told.speedup.low, told.speedup.high) == pytest.approx((2, 2, 2))
    assert told.speedup.excludes_one
    assert (told.null.excludes_one, told.false_positives, told.smallest_percent) == (False, 0, 0)


def test_a_seed_gives_the_same_interval(compare):
    paired = compare(1, groups=12)

    assert ratio(paired, seed=4) == ratio(paired, seed=4)
    assert ratio(paired, seed=4).speedup.value == ratio(paired, seed=5).speedup.value
    assert ratio(paired, confidence=0.8).speedup.high < ratio(paired).speedup.high


def arms(blocks=8, own=1.0, **others):
    one = (1.0,) * blocks
    given = {"reference_s": one, "own_s": (own,) * blocks, "again_s": one, "repeated_s": one, **others}
    return Paired(reference="a", counted=1, uncounted=0, **given)


@pytest.mark.parametrize(
    ("paired", "message"),
    [
        (arms(blocks=6), "at least 4 groups"),
        (arms(blocks=9), "of two each"),
        (arms(own_s=(1.0,) * 10), "of two each"),
        (arms(own=0.0), "measure again"),
    ],
    ids=["few", "odd", "unlike", "zero"],
)
def test_blocks_that_say_nothing_are_refused(paired, message):
    with pytest.raises(UsageError, match=message):
        ratio(paired)


def test_a_comparison_that_cannot_be_made_is_refused_before_it_ends(virtual):
    def side(unseen):
        return Side(session=virtual.Session(virtual.Device(), virtual.Clock(), 0), unseen=iter(unseen))

    told = {"counted": 1, "uncounted": 0, "seed": 0}
    with pytest.raises(UsageError, match="at least 4 groups and 1 call"):
        measure("a", side([]), side([]), {"x": 0}, groups=3, **told)
    with pytest.raises(UsageError, match="the unseen inputs ran out"):
        measure("a", side([{"x": 1}]), side([{"x": 1}]), {"x": 0}, groups=4, **told)
    with pytest.raises(UsageError, match="no confidence 95"):
        ratio(arms(), confidence=95)
