"""The runner refuses to time what disagrees; results resume; commands have what they say."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import cli, foreign, results, runner, timers
from benchmarks.session import Session


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
    from benchmarks import cases

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


@pytest.mark.backend("torch")
def test_every_case_has_its_own_name():
    from benchmarks import suite

    names = [case.name for case in suite.CASES]
    assert len(set(names)) == len(names)


@pytest.fixture
def session(tmp_path):
    return Session("speedup", results.Results(tmp_path / "results.csv"))


def passes(*names):
    calls = {name: runner.Pass(lambda: 1, lambda out: out + 1) for name in names}
    return lambda wanted: ({name: calls[name] for name in wanted}, "equal")


def test_rows_come_back_as_they_went(session):
    row = session.row("layer", "ours", "total", "T=8", note='a "quoted", note', sd=0.25)
    session.results.add([replace(row, **results.summary([1.0, 2.0, 3.0]))])
    (back,) = results.read(session.results.path)
    assert back == session.results.rows[0]
    assert (back.median, back.repeats, back.parameter("T")) == (2.0, 3, 8)
    assert back.machine and back.versions.startswith("Python") and back.commit


def test_an_interrupted_run_goes_on(session):
    asked = []

    def make(names):
        asked.append(names)
        return passes("a", "b")(names)

    session.duel("layer", "T=8", make, ["a"], ("forward", "total"), rounds=2)
    again = replace(session, results=results.Results(session.results.path))
    again.duel("layer", "T=8", make, ["a", "b"], ("forward", "total"), rounds=2)
    again.duel("layer", "T=8", make, ["a", "b"], ("forward", "total"), rounds=2)
    assert asked == [["a"], ["b"]]
    assert len(results.read(session.results.path)) == 4
    fresh = replace(session, results=results.Results(session.results.path, fresh=True))
    fresh.duel("layer", "T=8", make, ["a"], ("total",), rounds=2)
    assert asked[2:] == [["a"]]
    disturbed = replace(session.results.rows[0], note="equal; other processes took 40 % of it")
    session.results.add([disturbed])
    path = session.results.path
    assert results.Results(path).has(disturbed)
    assert not results.Results(path, retry_disturbed=True).has(disturbed)
    other = replace(again, seed=1)
    other.duel("layer", "T=8", make, ["a"], ("total",), rounds=2)
    assert asked[3:] == [["a"]]


def test_what_disagrees_is_listed_without_figures(session, capsys):
    def make(names):
        raise AssertionError("b: 3 spike times are wrong")

    session.duel("layer", "T=8", make, ["a", "b"], ("total",), rounds=2)
    rows = session.results.rows
    assert [row.status for row in rows] == ["refused", "refused"]
    assert all(row.median is None and "3 spike times are wrong" in row.note for row in rows)
    assert "disagree" in capsys.readouterr().err


def test_what_is_skipped_is_listed(session):
    skip = {"b": "predicted 99 s a pass, budget 3 s"}
    session.duel("layer", "T=8", passes("a"), ["a", "b"], ("total",), rounds=2, skip=skip)
    assert {row.contestant: row.status for row in session.results.rows} == {
        "a": "ok",
        "b": "skipped",
    }


def test_another_programs_file_is_refused(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="--results"):
        results.Results(path)


def test_a_gpu_timer_waits_and_takes_the_gpus_time():
    """A fake GPU: its queue takes 7 ms, however soon the call returns."""
    log, clock = [], iter([100.0, 107.0])

    class Event:
        def record(self):
            log.append("record")
            self.at = next(clock)

    timer = timers.EventTimer(
        Event, lambda: log.append("synchronise"), lambda start, end: end.at - start.at
    )
    elapsed, kept = timer(lambda: log.append("call") or "out")
    assert (elapsed, kept) == (7.0, "out")
    assert log == ["synchronise", "record", "call", "record", "synchronise"]


def test_the_wall_clock():
    elapsed, kept = timers.timer_for("cpu")(lambda: time.sleep(0.01) or "out")
    assert 9 < elapsed < 200
    assert kept == "out"


@pytest.mark.backend("torch")
def test_a_gpu_that_is_not_there_is_said(capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        cli.main(["speedup", "--quick", "--device", "cuda"])
    error = capsys.readouterr().err
    assert "finds no CUDA GPU" in error
    assert "no figure of this project was taken on a GPU" in " ".join(error.split())


def test_short_passes_run_once_more_before_the_clock():
    calls = []
    run = {"a": runner.Pass(lambda: calls.append("a"))}
    taken = runner.time_passes(run, 3, lambda call: (1.0, call()))
    assert taken == {"a": {"forward": [1.0, 1.0, 1.0]}}
    assert len(calls) == 5  # the first round follows a warm-up that the caller did
    calls.clear()
    runner.time_passes(run, 3, lambda call: (99.0, call()))
    assert len(calls) == 3


def test_foreign_load_is_told_from_our_own(monkeypatch):
    readings = iter([(0.0, 0.0, 0.0), (20.0, 15.0, 9.0)])
    monkeypatch.setattr(foreign, "_readings", lambda: next(readings))
    with foreign.Foreign() as load:
        pass
    assert load.share == pytest.approx(0.3)
    assert "30 % of the machine" in load.remark()


def test_a_disturbed_measurement_is_repeated_and_the_better_one_kept(monkeypatch):
    readings = iter([(0.0, 0.0, 0.0), (10.0, 5.0, 1.0), (20.0, 5.0, 1.0), (30.0, 8.0, 1.0)])
    monkeypatch.setattr(foreign, "_readings", lambda: next(readings))
    takes = iter(["first", "second"])
    load, kept = foreign.undisturbed(lambda: next(takes))
    assert kept == "second"
    assert load.share == pytest.approx(0.3)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n    {name} " in out for name in cli.COMMANDS)


@pytest.mark.backend("torch")
def test_cases_are_what_runs_without_a_command(capsys):
    assert cli.main(["import", "--rounds", "2"]) in (0, 1)
    assert "### import" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no case nonsense"):
        cli.main(["nonsense"])


@pytest.mark.backend("torch")
def test_the_contestants_agree_and_a_wrong_beta_among_them_does_not():
    from benchmarks import layers

    layer = layers.Layer.random(8, 60, 40, device="cpu")
    assert "480/480" in layers.check(layer, layers.CONTESTANTS)
    wrong = {"wrong": lambda given: layers.published(given, beta=given.beta * 1.01)}
    with pytest.raises(AssertionError, match="wrong: .* spike times are wrong"):
        layers.check(layer, layers.CONTESTANTS | wrong)


@pytest.mark.backend("torch")
def test_speedup_end_to_end(tmp_path, monkeypatch):
    """Two points, every contestant; then nothing is left to do, and the figure is there."""
    from benchmarks import speedup

    points = [speedup.Point(30, 8, 16), speedup.Point(200, 16, 16)]
    monkeypatch.setattr(speedup, "grid", lambda quick: points)
    path = str(tmp_path / "r.csv")
    arguments = ["speedup", "--quick", "--rounds", "2", "--budget", "1000", "--results", path]
    assert cli.main(arguments) == 0
    rows = results.read(tmp_path / "r.csv")
    assert len(rows) == 2 * 5 * 3
    assert {row.status for row in rows} == {"ok"}
    assert set(speedup.ratios(rows, "event", "total")) == set(points)
    assert (tmp_path / "figure2.png").stat().st_size > 5000
    assert cli.main(arguments) == 0
    assert len(results.read(tmp_path / "r.csv")) == len(rows)


@pytest.mark.backend("torch")
def test_points_are_predicted_and_skipped(tmp_path, monkeypatch):
    from benchmarks import speedup

    session = Session("speedup", results.Results(tmp_path / "r.csv"))
    row = session.row("layer", "FastSNN as published", "total", "T=8 b=16 n=100")
    rows = [replace(row, **results.summary([50.0]))]
    point = speedup.Point(200, 32, 16)
    predicted = speedup.predicted_s(rows, "FastSNN as published", point)
    assert predicted == pytest.approx(0.05 * 2 * 16)  # linear in n, quadratic in T
    assert speedup.predicted_s(rows, "event", point) is None
    assert speedup.predicted_s(rows, "FastSNN as published", speedup.Point(50, 8, 16)) is None
    monkeypatch.setattr(speedup, "_free_gigabytes", lambda: 1e-6)
    monkeypatch.setattr(speedup, "grid", lambda quick: [point])
    speedup.run(session, SimpleNamespace(budget=1.0))
    assert {r.status for r in session.results.rows} == {"skipped"}
    assert all("GB" in r.note for r in session.results.rows)


@pytest.mark.backend("torch")
def test_a_peer_with_a_wrong_beta_is_refused(tmp_path, monkeypatch, capsys):
    """The gate of `peers`: a system of another process whose beta is off gets no figure."""
    from benchmarks import peer_duel, peer_torch, peers

    right = peer_torch.lean_loop()

    def wrong_layer(given):
        return right.layer(replace(given, beta=given.beta * 0.97))

    made = {
        peers.ANCHOR: peers.system(peers.ANCHOR),
        "right": right,
        "wrong": right._replace(layer=wrong_layer),
    }

    class InProcess:
        def __init__(self, name):
            self.system = made[name]

        def output(self, task):
            call = peers.call_of(self.system, task)
            return peers.output_of(self.system, task, call())

        def ask(self, do, task):
            return {"time": 2.0, "memory": 3.0}[do]

    small = peers.layers.Layer.random(8, 60, 40, device="cpu")
    monkeypatch.setattr(peers, "layer_task", lambda seed: small)
    session = Session("peers", results.Results(tmp_path / "r.csv"))
    contest = peer_duel.Duel(session, "plain", list(made))
    monkeypatch.setattr(contest, "start", InProcess)
    contest.task("layer forward", rounds=2)
    rows = [row for row in session.results.rows if row.phase == "time"]
    assert {row.contestant: row.status for row in rows} == {
        "wrong": "refused",
        peers.ANCHOR: "ok",
        "right": "ok",
    }
    assert "spike times are wrong" in capsys.readouterr().err
    assert set(peer_duel.relative(session.results.latest("peers"))) == {peers.ANCHOR, "right"}
    assert "| wrong | refused |" in peer_duel.table(session.results.latest("peers"))


@pytest.mark.backend("torch")
def test_a_peer_that_cannot_start_is_a_row(tmp_path, monkeypatch, capsys):
    from benchmarks import peer_duel, peer_process, peers

    monkeypatch.setitem(peers.PEERS, "absent", peers.Entry("peer_torch:lean_loop", "plain"))
    session = Session("peers", results.Results(tmp_path / "r.csv"))
    contest = peer_duel.Duel(session, "plain", ["absent"])
    monkeypatch.setattr(contest, "start", lambda name: peer_process.Peer("nobody", 0))
    contest.task("infer 1", rounds=1)
    contest.close()
    assert {row.status for row in session.results.rows} == {"failed"}
    assert "KeyError: 'nobody'" in capsys.readouterr().err


@pytest.mark.backend("torch")
def test_exponents_and_equation_9():
    from benchmarks import scaling, speedup

    session = Session("scaling", SimpleNamespace())
    rows = [
        replace(session.row("n", "event", "forward", f"n={n}"), **results.summary([0.1 * n**1.5]))
        for n in (50, 100, 200, 400)
    ]
    assert scaling.exponents(rows)["n", "event"] == pytest.approx(1.5)
    rows = [
        replace(
            session.row("layer", name, "total", f"T=128 b={b} n=200"), **results.summary([taken])
        )
        for name, b, taken in (("standard SNN", 128, 80.0), ("event", 32, 5.0))
    ]
    assert speedup.relative(rows, "event") == {(32, 128): pytest.approx(4.0)}


@pytest.mark.backend("torch")
def test_guard_tells_worse_from_noise():
    from benchmarks import guard

    baseline = {"tolerance": 0.4, "ratios": {"a": 10.0, "b": 10.0}}
    text, worse = guard.compare({"a": 6.5, "b": 5.5, "c": 1.0}, baseline)
    assert worse == ["b", "c"]
    assert "WORSE" in text and "--update" in text
    assert sum(len(bars) for _, bars in guard.WATCHED) >= 10


@pytest.mark.backend("torch")
def test_accuracy_collects_what_training_leaves(tmp_path, monkeypatch):
    """A real run on the shipped sample, through the command; and a failing one is a row."""
    from benchmarks import accuracy

    arguments = [
        "accuracy",
        "--quick",
        "--recipe",
        "best",
        "--datasets",
        "fashion-mnist-sample",
        "nonsense",
    ]
    arguments += ["--results", str(tmp_path / "r.csv"), "--runs", str(tmp_path / "runs")]
    assert cli.main(arguments) == 0
    rows = results.read(tmp_path / "r.csv")
    found = accuracy.by_model(rows)
    assert found["fashion-mnist-sample", "fast", "accuracy"][0] > 5
    assert {row.status for row in rows if row.case == "nonsense"} == {"failed"}
    assert (tmp_path / "figure3.png").exists()
    assert accuracy.comparison(rows)["fashion-mnist-sample"]["speed-up"] > 0
    (trained,) = [row for row in rows if row.phase == "accuracy" and row.contestant == "fast"
                  and row.median is not None]  # fmt: skip
    longer = replace(
        trained, parameters=trained.parameters.replace("epochs=1 ", "epochs=7 "), median=99.0
    )
    of_seven = accuracy.by_model([*rows, longer])  # runs of one and of seven epochs have no mean
    assert of_seven["fashion-mnist-sample", "fast", "accuracy"] == [99.0]
    assert accuracy.epochs([longer, *rows])["fashion-mnist-sample", "fast"] == 7


@pytest.mark.backend("torch")
def test_the_report_is_one_page(tmp_path):
    from benchmarks import paper

    session = Session("speedup", results.Results(tmp_path / "r.csv"))
    for name, taken in (("standard SNN", 80.0), ("event", 5.0)):
        row = session.row("layer", name, "total", "T=128 b=32 n=200", note="<i>note</i>")
        session.results.add([replace(row, **results.summary([taken]))])
    row = session.row("layer", "dense, fft", "total", "T=128 b=32 n=200", status="skipped")
    session.results.add([row])
    page = tmp_path / "report.html"
    assert cli.main(["report", "--results", str(tmp_path / "r.csv"), "--out", str(page)]) == 0
    text = page.read_text()
    assert "event: 16" in text and "26.71" in text and "not measured" in text
    assert "data:image/png;base64," in text and 'src="http' not in text
    assert "skipped" in text
    assert "16.94" in page.with_suffix(".md").read_text()
    assert len(paper.SAID) == 19
