"""What a spiking neuron does besides leaking: firing, reset, refractory period, adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._checks import check_option, whole

__all__ = ["Neuron"]

Fires = Literal["once", "always"]
Reset = Literal["subtract", "zero", "none"]
ResetAt = Literal["after decay", "before decay"]
Adaptation = Literal["none", "threshold", "current"]
LogitsKind = Literal["sum", "max", "weighted"]


@dataclass(frozen=True)
class Neuron:
    """The kind of the neurons of a layer; its numbers are fields of `Layer`.

    With s the spikes, theta the threshold, sc = 1 or 1 - beta, and I the input current, which
    includes that of recurrent weights, one step after each spike:

        w[t] = rho w[t-1] + a u[t-1] + b s[t-1]
        u[t] = beta (u[t-1] - r[t-1]) + sc I[t] - w[t]      reset before the decay
        u[t] = beta u[t-1] - r[t-1] + sc I[t] - w[t]        reset after the decay (eq. 2)
        s[t] = [u[t] > theta], and 0 in refractory steps

    Without adaptation there is no w. With that of the threshold, a = 0 and w is added to theta and
    not taken from u.

    Parameters
    ----------
    fires : {"once", "always"}
        Whether a neuron fires at most once, which is FastSNN, or whenever it crosses the threshold.
    reset : {"subtract", "zero", "none"}, optional
        What a spike takes from the potential: r = theta s, u s or 0. "subtract" unless given, for
        neurons that fire once "none": after its spike, nothing is seen of their potential.
    reset_at : {"after decay", "before decay"}
        Whether the reset is taken from the potential after it has decayed, as in the paper's
        standard neuron, or decays with it.
    refractory : int
        Number of steps after each spike in which a neuron does not fire. Input charges it all the
        same.
    adaptation : {"none", "threshold", "current"}
        What the slow variable w does: nothing (LIF), raise the threshold (ALIF), or lower the
        potential (adLIF).

    Raises
    ------
    ValueError
        If an option is unknown, or does not go with ``fires="once"``.

    Examples
    --------
    >>> Neuron("always", reset_at="before decay", adaptation="current").reset
    'subtract'
    """

    fires: Fires = "once"
    reset: Reset | None = None
    reset_at: ResetAt = "after decay"
    refractory: int = 0
    adaptation: Adaptation = "none"

    def __post_init__(self) -> None:
        check_option("fires", self.fires, Fires)
        check_option("reset_at", self.reset_at, ResetAt)
        check_option("adaptation", self.adaptation, Adaptation)
        once = self.fires == "once"
        reset = ("none" if once else "subtract") if self.reset is None else self.reset
        check_option("reset", reset, Reset)
        object.__setattr__(self, "reset", reset)
        refractory = whole("refractory", self.refractory, at_least=0, below=2**31)
        object.__setattr__(self, "refractory", refractory)
        unwanted = {
            "reset": reset != "none",
            "refractory": refractory != 0,
            "adaptation": self.adaptation != "none",
        }
        for name, given in unwanted.items():
            if once and given:
                raise ValueError(
                    f"neurons that fire once have no {name}, got {getattr(self, name)!r}: "
                    'fires="always" has'
                )

    @property
    def adapts(self) -> bool:
        """Whether there is a slow variable w."""
        return self.adaptation != "none"
