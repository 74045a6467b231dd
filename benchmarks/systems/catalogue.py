"""The systems that people use, by name. A library is imported when its system is set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .names import ANCHOR, LOOP, PUBLISHED, SPARSE

if TYPE_CHECKING:
    from ..harness.contest import Contest
    from .tasks import System


class Entry(NamedTuple):
    """A system, and the nox session that installs what it needs."""

    make: Callable[[], System]
    group: str


def _ours() -> Any:
    from . import ours

    return ours


def _torch() -> Any:
    from . import torch_peers

    return torch_peers


def _library() -> Any:
    from . import libraries

    return libraries


def _jax() -> Any:
    from . import jax_peers

    return jax_peers


OURS = (ANCHOR, SPARSE, "ours, dense")
PEERS: dict[str, Entry] = {
    ANCHOR: Entry(lambda: _ours().event(), "plain"),
    SPARSE: Entry(lambda: _ours().dense_on_spikes(), "plain"),
    "ours, dense": Entry(lambda: _torch().ours_dense(), "plain"),
    PUBLISHED: Entry(lambda: _torch().published(), "plain"),
    LOOP: Entry(lambda: _torch().lean_loop(), "plain"),
    "torch.compile, 16 steps": Entry(lambda: _torch().compiled_loop(), "plain"),
    "snnTorch Leaky": Entry(lambda: _library().snntorch(), "snntorch"),
    "SpikingJelly LIFNode": Entry(lambda: _library().spikingjelly_lif(), "spikingjelly"),
    "SpikingJelly PSN": Entry(lambda: _library().spikingjelly_psn(), "spikingjelly"),
    "Norse LIFBox": Entry(lambda: _library().norse(), "norse"),
    "sinabs LIF": Entry(lambda: _library().sinabs(), "sinabs"),
    "JAX lax.scan": Entry(lambda: _jax().lax_scan(), "jax"),
    "Spyx LIF": Entry(lambda: _jax().spyx_lif(), "jax"),
    "Spyx PSU_LIF, parallel": Entry(lambda: _jax().spyx_psu(), "jax"),
}


def contest(names: Sequence[str], *, task: str, seed: int = 0) -> Contest:
    """Some of the systems in one task; an ImportError says what one of them lacks."""
    from . import tasks

    return tasks.contest({name: PEERS[name].make() for name in names}, task, seed)
