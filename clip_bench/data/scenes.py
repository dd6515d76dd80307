"""Generated scenes: coloured shapes on textured grounds, the same pixels on every platform.

Everything is drawn from the raw 64-bit stream of Philox (a counter-based generator whose stream numpy
guarantees, NEP 19) and rendered in float64 with ``+ - * / sqrt`` and comparisons alone, which IEEE 754
rounds the same way everywhere. No sine, no reduction, no matrix product: those differ between platforms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {
    "red": (0.86, 0.10, 0.12),
    "green": (0.12, 0.62, 0.20),
    "blue": (0.12, 0.28, 0.86),
    "yellow": (0.97, 0.88, 0.12),
    "orange": (0.97, 0.52, 0.06),
    "purple": (0.48, 0.14, 0.66),
    "pink": (0.98, 0.56, 0.76),
    "brown": (0.42, 0.24, 0.10),
    "white": (0.98, 0.98, 0.98),
    "black": (0.04, 0.04, 0.05),
}
TINT = 0.05  # each channel of an object's colour moves by at most this much
TURN = 0.16  # tangent of half the largest rotation: about 18 degrees either way
MARGIN = 1.3  # every shape fits a circle of this many radii, antialiasing included


class Split(IntEnum):
    """Which stream a scene is drawn from; streams of different keys never meet."""

    TRAIN = 1
    CALIBRATION = 2
    EVALUATION = 3


def phrase(name: str) -> str:
    """A class name with its article: ``a red star``, ``an orange ring``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object: centre and radius in units of the picture's side, rotation as the tangent of half its angle."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    half_turn: float
    tint: Rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One to three objects, listed from left to right, on a textured ground."""

    things: tuple[Thing, ...]
    ground: Rgb
    noise: tuple[Field, ...]  # value noise, coarse to fine: square grids of numbers in [-1, 1)

    @property
    def caption(self) -> str:
        """The objects from left to right, such as ``a red star, a blue ring and a pink heart``."""
        *head, last = (phrase(f"{thing.colour} {thing.shape}") for thing in self.things)
        return f"{', '.join(head)} and {last}" if head else last


class Draw:
    """Numbers from one Philox stream, by definitions that no numpy release can change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.Philox(key=np.array(key, np.uint64))

    def units(self, n: int) -> Field:
        """*n* float64 in [0, 1)."""
        return (self._bits.random_raw(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(self.units(1)[0])

    def pick(self, n: int, size: int) -> list[int]:
        """*n* different numbers below *size* (Fisher and Yates)."""
        deck = list(range(size))
        for i, unit in enumerate(self.units(n)):
            j = i + int(unit * (size - i))
            deck[i], deck[j] = deck[j], deck[i]
        return deck[:n]


def _polygon(x: Field, y: Field, corners: Sequence[tuple[float, float]]) -> Field:
    """Signed distance to a polygon (Quilez, https://iquilezles.org/articles/distfunctions2d)."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey = bx - ax, by - ay
        dx, dy = x - ax, y - ay
        along = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        px, py = dx - along * ex, dy - along * ey
        nearest = np.minimum(nearest, px * px + py * py)
        inside ^= ((ay > y) != (by > y)) & ((dx * ey < dy * ex) == (ey > 0))
    distance: Field = np.where(inside, -1.0, 1.0) * np.sqrt(nearest)
    return distance


def _disc(x: Field, y: Field, radius: float) -> Field:
    return np.sqrt(x * x + y * y) - radius


def _box(x: Field, y: Field, w: float, h: float) -> Field:
    return np.maximum(np.abs(x) - w, np.abs(y) - h)


def _circle(x: Field, y: Field) -> Field:
    return _disc(x, y, 0.92)


def _square(x: Field, y: Field) -> Field:
    return _box(x, y, 0.80, 0.80)


def _triangle(x: Field, y: Field) -> Field:
    return _polygon(x, y, [(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)])


def _star(x: Field, y: Field) -> Field:
    right = [(0.0, -1.08), (0.26, -0.36), (1.03, -0.33), (0.42, 0.14), (0.63, 0.87), (0.0, 0.45)]
    return _polygon(x, y, right + [(-a, b) for a, b in right[-2:0:-1]])


def _cross(x: Field, y: Field) -> Field:
    return np.minimum(_box(x, y, 1.0, 0.32), _box(x, y, 0.32, 1.0))


def _ring(x: Field, y: Field) -> Field:
    return np.abs(_disc(x, y, 0.72)) - 0.24


def _heart(x: Field, y: Field) -> Field:
    lobes = _disc(np.abs(x) - 0.48, y + 0.36, 0.53)
    return np.minimum(lobes, _polygon(x, y, [(0.0, -0.42), (0.93, -0.08), (0.0, 1.02), (-0.93, -0.08)]))


def _diamond(x: Field, y: Field) -> Field:
    return _polygon(x, y, [(0.0, -1.1), (0.66, 0.0), (0.0, 1.1), (-0.66, 0.0)])


def _crescent(x: Field, y: Field) -> Field:
    return np.maximum(_disc(x, y, 1.0), -_disc(x - 0.48, y, 0.80))


def _arrow(x: Field, y: Field) -> Field:
    upper = [(-1.0, -0.28), (0.1, -0.28), (0.1, -0.8), (1.05, 0.0)]
    return _polygon(x, y, upper + [(a, -b) for a, b in upper[-2::-1]])


SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "diamond": _diamond,
    "crescent": _crescent,
    "arrow": _arrow,
}

CLASSES: tuple[str, ...] = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
PROMPTS: tuple[str, ...] = tuple(phrase(name) for name in CLASSES)


def label(index: int) -> int:
    """The class of the single-object scene *index*: every class equally often, neighbours unlike."""
    return index * 37 % len(CLASSES)


def scene(split: Split, index: int, objects: int) -> Scene:
    """Draw scene *index* of the stream for (*split*, *objects*); *objects* is 1, 2 or 3."""
    draw = Draw(int(split) * 16 + objects, index)
    kinds = [label(index)] if objects == 1 else draw.pick(objects, len(CLASSES))
    low, high = {1: (0.16, 0.34), 2: (0.14, 0.21), 3: (0.115, 0.15)}[objects]
    things = []
    for place, kind in enumerate(kinds):
        colour, shape = CLASSES[kind].split()
        radius = draw.between(low, high)
        left, right = place / objects + radius, (place + 1) / objects - radius
        things.append(
            Thing(
                colour=colour,
                shape=shape,
                x=draw.between(left, right),
                y=draw.between(radius + 0.02, 0.98 - radius),
                radius=radius,
                half_turn=draw.between(-TURN, TURN),
                tint=_near(COLOURS[colour], draw),
            )
        )
    grey = draw.between(0.32, 0.68)
    return Scene(
        things=tuple(things),
        ground=_near((grey, grey, grey), draw),
        noise=tuple(draw.units(n * n).reshape(n, n) * 2.0 - 1.0 for n in (4, 9, 17)),
    )


def _near(rgb: Rgb, draw: Draw) -> Rgb:
    r, g, b = (channel + draw.between(-TINT, TINT) for channel in rgb)
    return r, g, b


def _lerp(grid: Field, size: int) -> Field:
    """Bilinear interpolation of a square grid onto *size* × *size* pixel centres."""
    at = (np.arange(size) + 0.5) / size * (len(grid) - 1)
    low = np.minimum(at.astype(np.intp), len(grid) - 2)
    part = at - low
    rows = grid[low] + (grid[low + 1] - grid[low]) * part[:, None]
    filled: Field = rows[:, low] + (rows[:, low + 1] - rows[:, low]) * part[None, :]
    return filled


def render(scene: Scene, size: int) -> NDArray[np.uint8]:
    """The scene as *size* × *size* × 3 pixels of 8 bits, RGB, the same bytes on every platform."""
    texture = sum((_lerp(grid, size) * 0.07 for grid in scene.noise), np.zeros((size, size)))
    pixels = np.stack([channel + texture for channel in scene.ground], axis=-1)
    for thing in scene.things:
        _paint(pixels, thing, size)
    return np.floor(np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _paint(pixels: Field, thing: Thing, size: int) -> None:
    """Blend one object into the pixels of its bounding box, coverage from the signed distance."""
    reach = thing.radius * MARGIN
    cols = np.arange(max(0, int((thing.x - reach) * size)), min(size, int((thing.x + reach) * size) + 2))
    rows = np.arange(max(0, int((thing.y - reach) * size)), min(size, int((thing.y + reach) * size) + 2))
    dx = ((cols + 0.5) / size - thing.x)[None, :] / thing.radius
    dy = ((rows + 0.5) / size - thing.y)[:, None] / thing.radius
    t = thing.half_turn  # rotation without sine or cosine: c = (1-t²)/(1+t²), s = 2t/(1+t²)
    c, s = (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
    distance = SHAPES[thing.shape](c * dx + s * dy, c * dy - s * dx)
    cover = np.clip(0.5 - distance * thing.radius * size, 0.0, 1.0)[..., None]
    box = pixels[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    box += (np.array(thing.tint) - box) * cover


def digest(pictures: Iterable[NDArray[np.uint8]]) -> str:
    """sha256 over the pixels, in order: what tells two platforms that they see the same scenes."""
    sha = hashlib.sha256()
    for picture in pictures:
        sha.update(picture.tobytes())
    return sha.hexdigest()
