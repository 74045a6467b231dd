"""Every kind of contest by name, so that another process can set up the same one.

What a kind needs is imported when a contest is set up: a process of one library needs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..harness.contest import Contest, Setup
from . import catalogue, names
from .cases.case import Case


def _case(chosen: Sequence[str], *, name: str) -> Contest:
    from .cases import catalogue as cases

    return cases.case(name).setup(chosen)


def _layer(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import layers

    return layers.contest(chosen, **arguments)


def _stream(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import streams

    return streams.contest(chosen, **arguments)


def _call(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import single

    return single.contest(chosen, **arguments)


def _start(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import single

    return single.start_contest(chosen, **arguments)


def _step(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import training

    return training.contest(chosen, **arguments)


def _bulk(chosen: Sequence[str], **arguments: Any) -> Contest:
    from . import bulk

    return bulk.contest(chosen, **arguments)


#: kind -> how to set it up, and its contestants that run this project's code; a case names its own
KINDS: dict[str, tuple[Callable[..., Contest], tuple[str, ...]]] = {
    "case": (_case, ()),
    "layer": (_layer, names.LAYER_OURS),
    "peer": (catalogue.contest, catalogue.OURS),
    "stream": (_stream, (names.EVENT, names.BLOCK)),
    "call": (_call, names.ENGINES),
    "start": (_start, names.ENGINES),
    "step": (_step, names.MODELS),
    "bulk": (_bulk, ("forward_blocks",)),
}


def setup(kind: str, **arguments: Any) -> Setup:
    """How to set up a contest of a kind."""
    make, ours = KINDS[kind]
    return Setup(kind, arguments, partial(make, **arguments), ours)


def case_setup(case: Case) -> Setup:
    """How to set up a case's contest."""
    return replace(setup("case", name=case.name), ours=case.ours)


def make(kind: str, arguments: dict[str, Any], chosen: Sequence[str]) -> Contest:
    """A contest, as a worker is asked for it."""
    return KINDS[kind][0](chosen, **arguments)
