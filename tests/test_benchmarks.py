"""The runner refuses to time what disagrees, and its cases set up."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks import cases, runner


def duel(factor):
    x = np.arange(5.0)

    def check(outputs):
        np.testing.assert_allclose(outputs["ours"], outputs["theirs"])
        return "to rounding"

    return runner.Duel({"ours": lambda: 2 * x, "theirs": lambda: factor * x}, check)


def test_a_wrong_result_is_refused():
    case = runner.Case("planted", "a wrong factor", lambda: duel(3.0))
    with pytest.raises(AssertionError, match="Not equal"):
        runner.measure(case)


def test_a_wrong_beta_is_refused(monkeypatch):
    """A whole case, with a decay whose beta is a shade off."""
    right = cases.fs.decay
    monkeypatch.setattr(cases.fs, "decay", lambda x, beta: right(x, beta=beta * 1.001))
    with pytest.raises(AssertionError):
        runner.measure(cases.decay_block_against_fft(8, 3, 50, False), rounds=2)
    monkeypatch.setattr(cases.fs, "decay", right)
    assert runner.measure(cases.decay_block_against_fft(8, 3, 50, False), rounds=2).values


def test_ratios_and_bars():
    bars = (runner.Bar("fast", "slow", 2.0), runner.Bar("slow", "fast", 2.0))
    calls = {"fast": lambda: time.sleep(0.001), "slow": lambda: time.sleep(0.02)}
    case = runner.Case("sleep", "about", lambda: runner.Duel(calls, lambda outputs: ""), bars)
    result = runner.measure(case, rounds=3)
    assert all(len(seconds) == 3 for seconds in result.values.values())
    assert 3 < result.ratio(bars[0]) < 25
    text, met = runner.report(result)
    assert not met
    assert "NOT met" in text
    assert ": met" in text


def test_every_case_has_its_own_name():
    names = [case.name for case in cases.CASES]
    assert len(set(names)) == len(names)
    assert "numpy 2" in runner.machine(["numpy", "nonsense"])
