"""Class names and prompt templates as CLIP users know them: those of CLIP's own zero-shot figures.

ImageNet's names and 80 templates are OpenAI's (https://github.com/openai/CLIP, notebooks), as open_clip has them; its
wnids are in the order of the classes. CIFAR-100's names are those of its own ``meta`` file, with CLIP's 18 templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from clip_bench.data.folders import TEMPLATE

FILE = "classes.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Names in the order of their numbers; ``wnids`` beside them, where there are any; ``templates``, the plain first."""

    names: tuple[str, ...]
    templates: tuple[str, ...]
    wnids: tuple[str, ...] = ()

    def numbers(self) -> Mapping[str, int]:
        """The class of each wnid and of each name, in lower case; a name that two classes have is not among them."""
        plain = [spoken(name) for name in self.names]
        named = {name: i for i, name in enumerate(plain) if plain.count(name) == 1}
        return named | {wnid: i for i, wnid in enumerate(self.wnids)}


def spoken(name: str) -> str:
    """*name* in lower case, with spaces for underscores."""
    return " ".join(name.replace("_", " ").lower().split())


@cache
def of(data: str) -> Classes:
    """The classes of ``imagenet`` or ``cifar100``."""
    stored = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))[data]
    templates = tuple(dict.fromkeys([TEMPLATE, *stored["templates"]]))
    return Classes(names=tuple(stored["classes"]), templates=templates, wnids=tuple(stored.get("wnids", ())))
