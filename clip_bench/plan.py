"""What a run plans to do, and on what: the same wherever it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clip_bench import machine, record
from clip_bench.settings import Settings
from clip_bench.specs import Case

MACHINE = ("name", "cpu", "isa", "os", "python", "runtimes", "threads", "accelerators")  # of its facts

Plan = Mapping[str, Any]


def of(settings: Settings, cases: Sequence[Case], commit: str | None) -> Plan:
    """The plan to run *cases* on this machine, as JSON data."""
    facts = machine.facts(settings.threads)
    plan = {
        "schema": record.SCHEMA,
        "commit": commit,
        "machine": {name: facts[name] for name in MACHINE},
        "settings": {name: value for name, value in asdict(settings).items() if name != "cache"},
        "cells": [case.id for case in cases],
        "targets": [str(case.target) for case in cases],
    }
    found: Plan = json.loads(json.dumps(plan, default=str))
    return found


def differing(before: Plan, now: Plan) -> str:
    """The first part of a plan that is not as it was, in words; empty where all is."""
    for name, value in now.items():
        was = before.get(name)
        if was == value:
            continue
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            return f"{name}, {differing(was, value)}"
        if isinstance(value, list) and isinstance(was, list) and name == "cells":
            return f"it planned {len(was)} cells, and here are {len(value)}, or others"
        return f"{name} was {was} and is {value}"
    return ""
