"""What disagrees is never timed; results resume; commands, rooms and other checkouts."""

from __future__ import annotations

import ast
import shutil
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import cli
from benchmarks.commands import peers as peers_command
from benchmarks.commands import speedup as speedup_command
from benchmarks.derive import accuracy as derive_accuracy
from benchmarks.derive import against as derive_against
from benchmarks.derive import cases as derive_cases
from benchmarks.derive import guard as derive_guard
from benchmarks.derive import paper
from benchmarks.derive import peers as derive_peers
from benchmarks.derive import scaling as derive_scaling
from benchmarks.derive import speedup as derive_speedup
from benchmarks.derive.markdown import markdown
from benchmarks.harness import contention, results, timers, worker
from benchmarks.harness.checkout import Checkout
from benchmarks.harness.command import Command
from benchmarks.harness.contest import Bar, Call, Contest, Figure, Pass, Setup
from benchmarks.harness.machine import ROOT
from benchmarks.harness.point import Point
from benchmarks.harness.rows import Parameters, Phase, Row, summary
from benchmarks.harness.session import Entrant, Session
from benchmarks.harness.turns import turns
from benchmarks.systems import serve
from benchmarks.systems.names import ANCHOR, EVENT, PUBLISHED

TOTAL = [Phase("total")]
BOTH = [Phase("forward"), Phase("total")]
TIME = [Phase("time")]
HERE = Path(benchmarks.__file__).parent


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Nothing here is about how long anything takes."""
    monkeypatch.setattr("benchmarks.harness.turns.SETTLE_S", 0.0)


@pytest.fixture
def session(tmp_path):
    with Session("speedup", results.Results(tmp_path / "results.csv")) as made:
        yield made


def planted(factor, log=None):
    """Two contestants, one of which may compute something else."""
    x = np.arange(5.0)

    def call(name, factor):
        if log is not None:
            log.append(name)
        return factor * x

    def check(outputs):
        np.testing.assert_allclose(outputs["ours"], outputs["theirs"])
        return "to rounding"

    def make(names):
        calls = {"ours": partial(call, "ours", 2.0), "theirs": partial(call, "theirs", factor)}
        return Contest({name: Call(calls[name]) for name in names}, check)

    return Setup("planted", {}, make, ("ours",))


def test_a_wrong_result_is_refused(session, capsys):
    log = []
    rows = session.measure(
        planted(3.0, log), "planted", Parameters(), ["ours", "theirs"], TIME, rounds=2
    )
    assert [row.status for row in rows] == ["refused", "refused"]
    assert all("Not equal" in row.note and row.median is None for row in rows)
    assert log == ["ours", "theirs"]  # each once, to be compared: nothing was timed
    assert "Not equal" in capsys.readouterr().err


def test_a_wrong_beta_is_refused(session, monkeypatch):
    """A whole case, with a decay whose beta is a shade off."""
    from benchmarks.systems.cases import core

    case = core.decay_block_against_fft(8, 3, 50, False)

    def measured():
        made = Setup("case", {}, case.setup, case.ours)
        return session.measure(
            made, case.name, Parameters(), case.names, TIME, rounds=2, resumes=False
        )

    right = core.fs.decay
    monkeypatch.setattr(core.fs, "decay", lambda x, beta: right(x, beta=beta * 1.001))
    assert {row.status for row in measured()} == {"refused"}
    monkeypatch.setattr(core.fs, "decay", right)
    assert all(row.status == "ok" and len(row.values) == 2 for row in measured())


def test_either_method_may_have_the_smaller_rounding_error():
    """The judge of `decay` has a bound for both; whose error is smaller is the BLAS's affair."""
    from benchmarks.systems.cases import core

    contest = core.decay_block_against_fft(8, 3, 50, False).setup(["fft", "block"])
    exact = contest.contestants["fft"].output()
    off = exact + np.float32(5e-6)
    assert contest.judge({"fft": exact, "block": off})
    assert contest.judge({"fft": off, "block": exact})
    for name in ("fft", "block"):
        with pytest.raises(AssertionError):
            contest.judge({"fft": exact, "block": exact, name: exact + np.float32(2e-5)})


def test_ratios_and_bars(session):
    """Figures come from the contestants themselves: no clock decides what is asserted."""
    bars = (Bar("fast", "slow", 2.0), Bar("slow", "fast", 2.0))
    figures = {"fast": Figure(lambda: 2.0), "slow": Figure(lambda: 10.0)}
    made = Setup("sleep", {}, lambda names: Contest(figures, lambda outputs: ""), ())
    rows = session.measure(made, "sleep", Parameters(), figures, TIME, rounds=3)
    assert all(len(row.values) == 3 for row in rows)
    by_name = derive_cases.medians(rows)
    assert derive_cases.ratio(bars[0], by_name) == 5.0
    text, met = derive_cases.report("sleep", "about", rows, bars)
    assert not met
    assert "NOT met" in text
    assert ": met" in text
    assert derive_cases.report("sleep", "about", rows, bars[:1])[1]


def test_a_refused_case_meets_no_bar(session, capsys):
    rows = session.measure(
        planted(3.0), "planted", Parameters(), ["ours", "theirs"], TIME, rounds=2
    )
    text, met = derive_cases.report("planted", "about", rows, [Bar("ours", "theirs")])
    assert not met
    assert "no figure, NOT met" in text and "refused: outputs disagree" in text
    assert not derive_cases.report("planted", "about", rows, [])[1]


def test_the_spread_is_that_of_the_quartiles():
    row = Row("c", "a", "b", "time", **summary([9.0, 10.0, 10.0, 11.0, 100.0]))
    assert derive_cases.spread(row) == pytest.approx((55.5 - 9.5) / 2 / 10)
    assert derive_cases.spread(replace(row, values=(10.0,))) == 0


@pytest.mark.backend("torch")
def test_every_case_has_its_own_name():
    from benchmarks.systems.cases.catalogue import CASES

    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    for case in CASES:
        assert set(case.ours) <= set(case.names)
        assert {n for bar in case.bars for n in (bar.faster, bar.than)} <= set(case.names)


def passes(log=None):
    """A setup of contestants that agree; `log` gets the names that are set up."""

    def make(names):
        if log is not None:
            log.append(list(names))
        made = {name: Pass(lambda: 1, lambda out: out + 1) for name in names}
        return Contest(made, lambda outputs: "equal")

    return Setup("passes", {}, make, ())


def test_rows_come_back_as_they_went(session):
    row = session.row("layer", "ours", "total", Parameters(T=8), note='a "quoted", note', sd=0.25)
    session.results.add([replace(row, **summary([1.0, 2.0, 3.0]))])
    (back,) = results.read(session.results.path)
    assert back == session.results.rows[0]
    assert (back.median, back.repeats, back.number("T")) == (2.0, 3, 8)
    assert back.machine and back.versions.startswith("Python") and back.commit


def test_parameters_are_read_once_and_written_as_they_were():
    given = Parameters(recipe="best", T=8, b=16)
    assert str(given) == "T=8 b=16 recipe=best"
    assert Parameters.read(str(given)) == given
    assert hash(Parameters.read(str(given))) == hash(given)
    assert dict(Parameters.read("")) == {}
    with pytest.raises(KeyError):
        given.number("n")


def test_the_results_in_the_repository_are_read_and_written_alike(tmp_path):
    rows = results.read(results.DEFAULT)
    assert len(rows) > 500
    copy = results.Results(tmp_path / "r.csv")
    copy.path.write_bytes(results.DEFAULT.read_bytes())
    copy.rows = rows
    copy.add([replace(rows[0], note="one more")])
    lines = copy.path.read_text().splitlines()
    assert lines[:-1] == results.DEFAULT.read_text().splitlines()


def test_a_file_of_before_other_checkouts_is_read_and_gets_the_column(session):
    """Until commit 5475f46 the files had no column "checkout"."""
    row = session.row("layer", "ours", "total", Parameters(T=8), **summary([1.0]))
    session.results.add([row])
    path = session.results.path
    older = "".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines())
    path.write_text(older)
    again = results.Results(path)
    assert again.rows == session.results.rows
    again.add([replace(row, checkout="abc")])
    assert [r.checkout for r in results.read(path)] == ["", "abc"]
    assert path.read_text().splitlines()[0].endswith(",time,checkout")


def test_an_interrupted_run_goes_on(session):
    asked = []
    at = Parameters(T=8)

    def measure(made, names, phases):
        made.measure(passes(asked), "layer", at, names, phases, rounds=2)

    measure(session, ["a"], BOTH)
    again = replace(session, results=results.Results(session.results.path))
    measure(again, ["a", "b"], BOTH)
    measure(again, ["a", "b"], BOTH)
    assert asked == [["a"], ["b"]]
    assert len(results.read(session.results.path)) == 4
    fresh = replace(session, results=results.Results(session.results.path, fresh=True))
    measure(fresh, ["a"], TOTAL)
    assert asked[2:] == [["a"]]
    disturbed = replace(session.results.rows[0], note="equal; other processes took 40 % of it")
    session.results.add([disturbed])
    path = session.results.path
    assert results.Results(path).has(disturbed)
    assert not results.Results(path, retry_disturbed=True).has(disturbed)
    other = replace(again, seed=1)
    measure(other, ["a"], TOTAL)
    assert asked[3:] == [["a"]]


def test_an_anchor_is_measured_again_with_whatever_is_compared_with_it(session):
    def measure(names):
        return session.measure(
            passes(), "layer", Parameters(), names, TOTAL, rounds=1, anchor="ours"
        )

    assert [row.contestant for row in measure(["ours", "a"])] == ["ours", "a"]
    assert [row.contestant for row in measure(["ours", "a", "b"])] == ["ours", "b"]
    assert measure(["ours", "a", "b"]) == []
    assert replace(session, seed=1).measure(
        passes(), "layer", Parameters(), ["ours"], TOTAL, rounds=1, anchor="ours"
    ) == []  # fmt: skip


def test_what_disagrees_is_listed_without_figures(session, capsys):
    def judge(outputs):
        raise AssertionError("b: 3 spike times are wrong")

    def make(names):
        return Contest({name: Pass(lambda: 1) for name in names}, judge)

    made = Setup("passes", {}, make, ())
    session.measure(made, "layer", Parameters(T=8), ["a", "b"], TOTAL, rounds=2)
    rows = session.results.rows
    assert [row.status for row in rows] == ["refused", "refused"]
    assert all(row.median is None and "3 spike times are wrong" in row.note for row in rows)
    assert "disagree" in capsys.readouterr().err


def test_one_that_is_judged_by_itself_is_refused_alone(session):
    def judge(outputs):
        assert outputs.keys() != {"b"}, "b is wrong"
        return "fine"

    made = Setup("x", {}, lambda n: Contest({k: Pass(lambda: 1) for k in n}, judge, True), ())
    phases = [Phase("forward")]
    rows = session.measure(made, "layer", Parameters(), ["a", "b"], phases, rounds=1)
    assert {row.contestant: row.status for row in rows} == {"a": "ok", "b": "refused"}


def test_what_is_skipped_is_listed(session):
    skip = {"b": "predicted 99 s a pass, budget 3 s"}
    log = []
    session.measure(passes(log), "layer", Parameters(T=8), ["a", "b"], TOTAL, rounds=2, skip=skip)
    assert {row.contestant: row.status for row in session.results.rows} == {
        "a": "ok",
        "b": "skipped",
    }
    assert log == [["a"]]  # what is skipped is not even set up


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


def test_the_wall_clock(monkeypatch):
    readings = iter([10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings))
    elapsed, kept = timers.timer_for("cpu")(lambda: "out")
    assert (elapsed, kept) == (500.0, "out")


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
    run = {"a": Pass(lambda: calls.append("a"))}
    taken = turns(run, 3, lambda call: (1.0, call()))
    assert taken == {"a": {"forward": [1.0, 1.0, 1.0]}}
    assert len(calls) == 5  # the first round follows a warm-up that the caller did
    calls.clear()
    turns(run, 3, lambda call: (99.0, call()))
    assert len(calls) == 3


def test_contestants_take_turns():
    log = []
    runs = {name: Call(partial(log.append, name), repeats=2) for name in ("a", "b")}
    taken = turns(runs, 2, lambda call: (99.0, call()))
    assert log == ["a", "a", "b", "b"] * 2
    assert taken == {"a": {"time": [99.0] * 4}, "b": {"time": [99.0] * 4}}


def test_foreign_load_is_told_from_our_own(monkeypatch):
    readings = iter([(0.0, 0.0, 0.0), (20.0, 15.0, 9.0)])
    monkeypatch.setattr(contention, "_readings", lambda: next(readings))
    with contention.Contention() as load:
        pass
    assert load.share == pytest.approx(0.3)
    assert "30 % of the machine" in load.remark()


def test_a_disturbed_measurement_is_repeated_and_the_better_one_kept(monkeypatch):
    readings = iter([(0.0, 0.0, 0.0), (10.0, 5.0, 1.0), (20.0, 5.0, 1.0), (30.0, 8.0, 1.0)])
    monkeypatch.setattr(contention, "_readings", lambda: next(readings))
    takes = iter(["first", "second"])
    load, kept = contention.undisturbed(lambda: next(takes))
    assert kept == "second"
    assert load.share == pytest.approx(0.3)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n    {name}" in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_is_a_name_options_and_a_run(name, capsys):
    """Every option of its own is a typed field, and what it shares is added by the command line."""
    command = cli.COMMANDS[name].command
    assert isinstance(command, Command) and command.name == name and command.about
    parsed = cli.parser().parse_args([name])
    options = command.options_of(parsed)
    assert {f.name for f in fields(options)} <= vars(parsed).keys()
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    out = capsys.readouterr().out
    assert "--quick" in out and "--results" in out
    assert ("--against" in out) == (name != "report")


def test_options_have_their_types():
    parsed = cli.parser().parse_args(
        ["accuracy", "--datasets", "shd", "--seeds", "2", "--runs", "there", "--retry-disturbed"]
    )
    options = cli.COMMANDS["accuracy"].command.options_of(parsed)
    assert (options.datasets, options.seeds, options.runs) == (["shd"], 2, Path("there"))
    assert options.models == ["fast", "standard"] and options.root is None
    assert parsed.retry_disturbed


@pytest.mark.backend("torch")
def test_cases_are_what_runs_without_a_command(tmp_path, capsys):
    path = str(tmp_path / "r.csv")
    assert cli.main(["import", "--rounds", "2", "--results", path]) in (0, 1)
    assert "### import" in capsys.readouterr().out
    assert {row.command for row in results.read(tmp_path / "r.csv")} == {"cases"}
    with pytest.raises(SystemExit, match="no case nonsense"):
        cli.main(["nonsense", "--results", path])


@pytest.mark.backend("torch")
def test_the_contestants_agree_and_a_wrong_beta_among_them_does_not():
    from benchmarks.systems import layers

    layer = layers.Layer.random(8, 60, 40, device="cpu")

    def check(makers):
        contest = layers.of_layer(layer, makers)
        return contest.judge({name: run.output() for name, run in contest.contestants.items()})

    assert "480/480" in check(layers.CONTESTANTS)
    wrong = {"wrong": lambda given: layers.published(given, beta=given.beta * 1.01)}
    with pytest.raises(AssertionError, match="wrong: .* spike times are wrong"):
        check(layers.CONTESTANTS | wrong)


@pytest.mark.backend("torch")
def test_speedup_end_to_end(tmp_path, monkeypatch):
    """Two points, every contestant; then nothing is left to do, and the figure is there."""
    points = [Point(30, 8, 16), Point(200, 16, 16)]
    monkeypatch.setattr(speedup_command, "grid", lambda quick: points)
    path = str(tmp_path / "r.csv")
    arguments = ["speedup", "--quick", "--rounds", "2", "--budget", "1000", "--results", path]
    assert cli.main(arguments) == 0
    rows = results.read(tmp_path / "r.csv")
    assert len(rows) == 2 * 5 * 3
    assert {row.status for row in rows} == {"ok"}
    assert set(derive_speedup.ratios(rows, EVENT, "total")) == set(points)
    assert (tmp_path / "figure2.png").stat().st_size > 5000
    assert cli.main(arguments) == 0
    assert len(results.read(tmp_path / "r.csv")) == len(rows)


def test_points_are_predicted_and_skipped(session, monkeypatch):
    row = session.row("layer", PUBLISHED, "total", Parameters(T=8, b=16, n=100))
    rows = [replace(row, **summary([50.0]))]
    point = Point(200, 32, 16)
    predicted = speedup_command.predicted_s(rows, PUBLISHED, point)
    assert predicted == pytest.approx(0.05 * 2 * 16)  # linear in n, quadratic in T
    assert speedup_command.predicted_s(rows, EVENT, point) is None
    assert speedup_command.predicted_s(rows, PUBLISHED, Point(50, 8, 16)) is None
    monkeypatch.setattr(speedup_command, "_free_gigabytes", lambda: 1e-6)
    monkeypatch.setattr(speedup_command, "grid", lambda quick: [point])
    list(speedup_command.run(session, speedup_command.Options(budget=1.0)))
    assert {r.status for r in session.results.rows} == {"skipped"}
    assert all("GB" in r.note for r in session.results.rows)


@pytest.mark.backend("torch")
def test_a_peer_with_a_wrong_beta_is_refused(tmp_path, monkeypatch, capsys):
    """The gate of `peers`: a system whose beta is off gets no figure."""
    from benchmarks.systems import catalogue, layers, tasks, torch_peers

    right = torch_peers.lean_loop()

    def wrong_layer(given):
        return right.layer(replace(given, beta=given.beta * 0.97))

    made = {"right": right, "wrong": right._replace(layer=wrong_layer)}
    for name, system in made.items():
        entry = catalogue.Entry(lambda system=system: system, "plain")
        monkeypatch.setitem(catalogue.PEERS, name, entry)
    small = layers.Layer.random(8, 60, 40, device="cpu")
    monkeypatch.setattr(tasks, "layer_task", lambda seed: small)
    session = Session("peers", results.Results(tmp_path / "r.csv"))
    peers_command.measure(
        session, "layer forward", "plain", [ANCHOR, *made], rounds=2, is_apart=False
    )
    rows = [row for row in session.results.rows if row.phase == "time"]
    assert {row.contestant: row.status for row in rows} == {
        "wrong": "refused",
        ANCHOR: "ok",
        "right": "ok",
    }
    assert "spike times are wrong" in capsys.readouterr().err
    latest = session.results.latest("peers")
    assert set(derive_peers.relative(latest)) == {ANCHOR, "right"}
    assert "| wrong | refused |" in markdown(derive_peers.tables(latest)[0])


@pytest.mark.backend("torch")
def test_a_peer_that_cannot_start_is_a_row(tmp_path, capsys):
    session = Session("peers", results.Results(tmp_path / "r.csv"), server=serve.__name__)
    with session:
        peers_command.measure(session, "infer 1", "plain", ["nobody"], rounds=1)
    assert {row.status for row in session.results.rows} == {"failed"}
    assert "KeyError: 'nobody'" in capsys.readouterr().err


@pytest.mark.backend("torch")
def test_a_peer_in_a_process_of_its_own_is_timed_and_weighed(tmp_path):
    session = Session("peers", results.Results(tmp_path / "r.csv"), server=serve.__name__)
    with session:
        rows = peers_command.measure(session, "infer 1", "plain", [ANCHOR], 2) or (
            peers_command.measure(session, "infer 1", "plain", [ANCHOR, "lean torch loop"], 2)
        )
        assert len(session.workers) == 2
    assert {(row.contestant, row.phase): row.status for row in rows} == {
        (name, phase): "ok" for name in (ANCHOR, "lean torch loop")
        for phase in ("time", "peak memory")
    }  # fmt: skip
    assert {row.repeats for row in rows if row.phase == "time"} == {2}


def test_exponents_and_equation_9():
    session = Session("scaling", None)
    rows = [
        replace(session.row("n", "event", "forward", Parameters(n=n)), **summary([0.1 * n**1.5]))
        for n in (50, 100, 200, 400)
    ]
    assert derive_scaling.exponents(rows)["n", "event"] == pytest.approx(1.5)
    rows = [
        replace(
            session.row("layer", name, "total", Parameters(T=128, b=b, n=200)), **summary([taken])
        )
        for name, b, taken in (("standard SNN", 128, 80.0), ("event", 32, 5.0))
    ]
    assert derive_speedup.relative(rows, "event") == {(32, 128): pytest.approx(4.0)}


def test_guard_tells_worse_from_noise():
    from benchmarks.commands import guard

    text, worse = derive_guard.compare(
        {"a": 6.5, "b": 5.5, "c": 1.0}, {"a": 10.0, "b": 10.0}, tolerance=0.4
    )
    assert worse == ["b", "c"]
    assert "WORSE" in text and "--update" in text
    assert sum(len(bars) for bars in guard.WATCHED.values()) >= 10


@pytest.mark.backend("torch")
def test_guard_watches_what_the_baseline_has():
    import json

    from benchmarks.commands import guard
    from benchmarks.systems.cases.catalogue import case

    baseline = json.loads(guard.BASELINE.read_text())
    names = {
        f"{name}: {bar.than} / {bar.faster}" for name, bars in guard.WATCHED.items() for bar in bars
    }
    assert names == baseline["ratios"].keys()
    for name, bars in guard.WATCHED.items():
        assert {n for bar in bars for n in (bar.faster, bar.than)} <= set(case(name).names)


def test_guard_compares_with_another_checkout_within_one_run(session):
    """A ratio of before has the other checkout's time of our code, and the same `than`."""
    watched = {"case": (Bar("ours", "theirs"),)}

    def row(name, median, checkout="", status="ok"):
        made = session.row("case", name, "time", checkout=checkout, status=status)
        return replace(made, median=median)

    rows = [row("theirs", 100.0), row("ours", 10.0), row("ours", 8.0, "old")]
    assert derive_guard.ratios(rows, watched) == {"case: theirs / ours": 10.0}
    assert derive_guard.ratios(rows, watched, "old") == {"case: theirs / ours": 12.5}
    assert derive_against.table(rows)[1][-3:] == ["8 ms", "10 ms", "0.800"]
    refused = [*rows[:2], row("ours", None, "old", "refused")]
    assert derive_guard.ratios(refused, watched, "old") == {}
    assert derive_against.table(refused)[1][-1] == "-"


@pytest.mark.backend("torch")
def test_accuracy_collects_what_training_leaves(tmp_path, monkeypatch):
    """A real run on the shipped sample, through the command; and a failing one is a row."""
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
    found = derive_accuracy.by_model(rows)
    assert found["fashion-mnist-sample", "fast", "accuracy"][0] > 5
    assert {row.status for row in rows if row.case == "nonsense"} == {"failed"}
    assert (tmp_path / "figure3.png").exists()
    assert derive_accuracy.comparison(rows)["fashion-mnist-sample"]["speed-up"] > 0
    (trained,) = [row for row in rows if row.phase == "accuracy" and row.contestant == "fast"
                  and row.median is not None]  # fmt: skip
    longer = replace(
        trained, parameters=Parameters(**{**trained.parameters, "epochs": 7}), median=99.0
    )
    of_seven = derive_accuracy.by_model(
        [*rows, longer]
    )  # runs of one and of seven epochs have no mean
    assert of_seven["fashion-mnist-sample", "fast", "accuracy"] == [99.0]
    assert derive_accuracy.epochs([longer, *rows])["fashion-mnist-sample", "fast"] == 7


@pytest.mark.backend("torch")
def test_the_report_is_one_page(tmp_path):
    session = Session("speedup", results.Results(tmp_path / "r.csv"))
    at = Parameters(T=128, b=32, n=200)
    for name, taken in (("standard SNN", 80.0), ("event", 5.0)):
        row = session.row("layer", name, "total", at, note="<i>note</i>")
        session.results.add([replace(row, **summary([taken]))])
    row = session.row("layer", "dense, fft", "total", at, status="skipped")
    session.results.add([row])
    page = tmp_path / "report.html"
    assert cli.main(["report", "--results", str(tmp_path / "r.csv"), "--out", str(page)]) == 0
    text = page.read_text()
    assert "event: 16" in text and "26.71" in text and "not measured" in text
    assert "data:image/png;base64," in text and 'src="http' not in text
    assert "skipped" in text
    assert "16.94" in page.with_suffix(".md").read_text()
    assert len(paper.SAID) == 19


FAKE_SERVER = """
import numpy as np
import fastsnn_np
from benchmarks.harness.contest import Contest, Figure
from benchmarks.harness.timers import wall_clock
from benchmarks.harness.worker import serve

def make(kind, arguments, names):
    def result(kept):
        return fastsnn_np.FACTOR * np.arange(arguments["size"])

    return Contest({name: Figure(lambda: fastsnn_np.MS, result) for name in names}, str)

serve(make, wall_clock, lambda: fastsnn_np.WHERE)
"""


@dataclass
class Fakes:
    """Two checkouts of a tiny package in place of `fastsnn_np`, and a contest between them."""

    session: Session
    now: Path
    before: Path

    def write(self, where: Path, factor: float, ms: float, lies: str = "") -> None:
        package = where / "fastsnn_np"
        package.mkdir(parents=True, exist_ok=True)
        location = repr(lies) if lies else "__file__"
        package.joinpath("__init__.py").write_text(
            f"FACTOR, MS, WHERE = {factor}, {ms}, {location}\n"
        )
        where.joinpath("fake_server.py").write_text(FAKE_SERVER)

    def measure(self) -> list[Row]:
        def judge(outputs):
            for name, output in outputs.items():
                np.testing.assert_allclose(output, 2.0 * np.arange(5), err_msg=name)
            return "to rounding"

        def make(names):
            local = Figure(lambda: 40.0, lambda kept: 2.0 * np.arange(5))
            return Contest(dict.fromkeys(names, local), judge)

        made = Setup("fake", {"size": 5}, make, ("ours",))
        names = ["theirs", "ours"]
        return self.session.measure(made, "fake", Parameters(), names, TIME, rounds=3)


@pytest.fixture
def fakes(session, tmp_path, monkeypatch):
    from benchmarks.harness import session as session_module

    made = Fakes(session, tmp_path / "now", tmp_path / "before")
    made.write(made.now, factor=2.0, ms=10.0)
    made.write(made.before, factor=2.0, ms=20.0)
    monkeypatch.setattr(session_module, "HERE", Checkout.at(made.now))
    against = Checkout.at(made.before)
    with replace(session, against=against, server="fake_server") as made.session:
        yield made


def test_another_checkout_takes_its_turns(fakes):
    rows = fakes.measure()
    label = fakes.session.against.label
    found = {(row.contestant, row.checkout): row.median for row in rows}
    assert found == {("theirs", ""): 40.0, ("ours", ""): 10.0, ("ours", label): 20.0}
    assert {row.status for row in rows} == {"ok"} and {row.repeats for row in rows} == {3}
    processes = {worker.process.pid for worker in fakes.session.workers.values()}
    assert len(processes) == 2  # our own code has a process of its own too
    head, line = derive_against.table(rows)
    assert line[head.index("before / now")] == "2.000"
    latest = fakes.session.results.latest("speedup")
    assert {row.checkout for row in latest} == {""}  # the report is of this checkout
    assert str(Entrant("ours", label)) == f"ours @ {label}"


def test_another_checkout_and_ours_are_measured_in_the_same_run(fakes):
    fakes.measure()
    assert fakes.measure() == []
    lost = fakes.session.results.rows.pop()
    assert lost.checkout
    fakes.session.results.done.remove(lost.key)
    assert [row.contestant for row in fakes.measure()] == ["ours", "ours"]


def test_another_checkout_that_computes_something_else_is_refused(fakes, capsys):
    fakes.write(fakes.before, factor=2.1, ms=1.0)
    rows = fakes.measure()
    assert {(r.contestant, bool(r.checkout)): r.status for r in rows} == {
        ("theirs", False): "ok",
        ("ours", False): "ok",
        ("ours", True): "refused",
    }
    assert derive_against.table(rows)[1][-1] == "-"
    assert "ours @ " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "note"),
    [
        ("raise ImportError('no such kernel')", "no such kernel"),
        ("FACTOR, MS, WHERE = 2.0, 1.0, '/elsewhere/fastsnn_np/__init__.py'", "elsewhere"),
    ],
)
def test_another_checkout_that_is_not_what_runs_has_no_figure(fakes, broken, note, capsys):
    """It cannot be imported, or another installed `fastsnn_np` would be measured in its place."""
    (fakes.before / "fastsnn_np" / "__init__.py").write_text(broken)
    rows = fakes.measure()
    status = {(r.contestant, bool(r.checkout)): r.status for r in rows}
    assert status == {("theirs", False): "ok", ("ours", False): "ok", ("ours", True): "failed"}
    assert all(note in row.note for row in rows if row.checkout)


@pytest.mark.parametrize(
    ("make", "python", "wanted"),
    [
        (False, None, "it has no fastsnn_np"),
        (True, "nowhere/python", "does not exist; --against-python wants a Python"),
    ],
)
def test_what_is_no_checkout_is_said(tmp_path, capsys, make, python, wanted):
    if make:
        (tmp_path / "fastsnn_np").mkdir()
        (tmp_path / "fastsnn_np" / "__init__.py").touch()
    arguments = ["guard", "--against", str(tmp_path), "--results", str(tmp_path / "r.csv")]
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments + (["--against-python", python] if python else []))
    assert wanted in " ".join(capsys.readouterr().err.split())


def test_a_checkouts_own_environment_runs_it(tmp_path):
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    (tmp_path / "fastsnn_np").mkdir()
    (tmp_path / "fastsnn_np" / "__init__.py").touch()
    checkout = Checkout.at(tmp_path)
    assert checkout.python == str(own)
    assert Checkout.at(tmp_path, Path("/bin/sh")).python == "/bin/sh"
    folder = tmp_path / "folder"
    folder.mkdir()
    path = checkout.environment(folder)["PYTHONPATH"]
    assert path == f"{folder}:{tmp_path}"  # nothing else, so that no editable install is found
    assert (folder / "benchmarks" / "cli.py").exists()


@pytest.mark.backend("torch")
def test_the_cases_run_against_a_copy_of_this_package(tmp_path, capsys):
    """A copy as it is, then one whose `decay` is off: it alone is refused, and no ratio given."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastsnn_np", copy / "fastsnn_np", ignore=ignored)
    path = tmp_path / "r.csv"
    arguments = ["decay-128x200x128", "--rounds", "2", "--against", str(copy)]
    assert cli.main([*arguments, "--results", str(path)]) in (0, 1)
    label = Checkout.at(copy).label
    found = {(row.contestant, row.checkout): row.status for row in results.read(path)}
    assert found == {("fft", ""): "ok", ("block", ""): "ok", ("block", label): "ok"}
    assert f"Before: {label}" in capsys.readouterr().out
    with (copy / "fastsnn_np" / "__init__.py").open("a") as file:
        file.write("\n_right = decay\ndecay = lambda x, beta: _right(x, beta=beta * 1.001)\n")
    assert cli.main([*arguments, "--results", str(path)]) == 1
    assert [row.status for row in results.read(path)[3:] if row.checkout] == ["refused"]


def test_a_worker_says_what_it_cannot_do():
    other = worker.Worker(serve.__name__, ["cpu"])
    assert Path(other.ask("where")).is_relative_to(ROOT)
    with pytest.raises(worker.WorkerError, match="KeyError: 'nonsense'"):
        other.ask("turn", kind="nonsense", arguments={}, names=["a"], name="a")
    other.close()


#: a room may import from itself and from those after it
ROOMS = ("__main__", "cli", "commands", "draw", "derive", "systems", "harness")
APART = {("commands", "derive"), ("commands", "draw")}


def imports() -> dict[str, set[str]]:
    """Module of benchmarks -> the modules that it imports, inside functions too."""
    paths = {p: ".".join(p.relative_to(HERE).with_suffix("").parts) for p in HERE.rglob("*.py")}
    names = {name.removesuffix("__init__").rstrip(".") for name in paths.values()}
    found: dict[str, set[str]] = {}
    for path, name in paths.items():
        package = name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1]
                base += node.module.split(".") if node.module else []
                for alias in node.names:
                    whole = ".".join([*base, alias.name])
                    target = whole if whole in names else ".".join(base)
                    found.setdefault(name, set()).add(target)
    return found


def wrong_ways(graph: dict[str, set[str]]) -> list[str]:
    """Imports against the direction of the rooms."""
    found = []
    for name, targets in graph.items():
        for target in targets:
            source, room = (n.split(".")[0] for n in (name, target))
            if source in ROOMS and room in ROOMS:
                back = ROOMS.index(room) < ROOMS.index(source)
                found += [f"{name} -> {target}"] if back or (source, room) in APART else []
    return found


def circles(graph: dict[str, set[str]]) -> set[str]:
    """Modules that lie on a circle, or between two: what remains when all others are taken off."""
    left = {name: targets & graph.keys() for name, targets in graph.items()}
    while free := {name for name, targets in left.items() if not targets}:
        left = {name: targets - free for name, targets in left.items() if name not in free}
    return set(left)


def test_the_rooms_have_one_direction_and_no_circles():
    graph = imports()
    assert len(graph) > 40 and "harness.session" in graph["harness.options"]
    assert wrong_ways(graph) == []
    assert circles(graph) == set()
    graph["harness.rows"].add("systems.names")
    graph["commands.guard"].add("derive.guard")
    assert sorted(wrong_ways(graph)) == [
        "commands.guard -> derive.guard",
        "harness.rows -> systems.names",
    ]
    graph["harness.machine"] = {"harness.rows"}
    assert {"harness.machine", "harness.rows"} <= circles(graph)


def test_no_module_of_the_benchmarks_is_orphaned():
    """Each is imported by another, or is started as a process."""
    graph = imports()
    started = {"__main__", "systems.first_call"}
    imported = {target for targets in graph.values() for target in targets}
    packages = {name for name in graph if name.endswith("__init__")}
    assert graph.keys() - imported - packages == started & graph.keys()
