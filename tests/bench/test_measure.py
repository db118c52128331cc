"""What the benches say of their figures: fair turns, honest intervals, and no verdict where nothing was shown."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from bench.measure import Estimate, Goal, Line, Runs, Verdict, abba, markdown, number, quantile, slope, table


def runs_of(anchor: list[float], ours: list[float]) -> Runs[float]:
    runs: Runs[float] = Runs()
    for side in abba(len(anchor) // 2):
        runs.add(side, anchor.pop(0) if side == "anchor" else ours.pop(0))
    return runs


def test_each_side_goes_first_as_often_as_the_other() -> None:
    assert list(abba(2)) == ["anchor", "ours", "ours", "anchor"] * 2


def test_a_machine_that_slows_down_favours_neither_side() -> None:
    runs: Runs[float] = Runs()
    for turn, side in enumerate(abba(10)):
        runs.add(side, 100.0 + turn)
    assert runs.ratio(float).value == pytest.approx(1, abs=0.001)


def test_a_ratio_is_ours_over_its_neighbour() -> None:
    ratio = runs_of([1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]).ratio(float)
    assert (ratio.value, ratio.low, ratio.high) == (2, 2, 2)


def test_noise_compares_runs_of_one_side_that_came_one_after_the_other() -> None:
    runs = runs_of([1.0, 2.0, 4.0, 5.0, 10.0, 3.0], [7.0, 14.0, 1.0, 2.0, 5.0, 10.0])
    # ours: 14/7, 2/1, 10/5; anchor across the rounds: 4/2, 10/5
    noise = runs.noise(float)
    assert (noise.value, noise.low, noise.high) == (2, 2, 2)


def test_an_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    samples = rng.lognormal(0, 0.3, (200, 24))
    held = [found.low <= 1 <= found.high for found in map(quantile, samples.tolist())]
    assert 0.88 <= np.mean(held) <= 0.99


def test_more_runs_make_an_interval_narrower() -> None:
    sample = np.random.default_rng(7).lognormal(0, 0.3, 400).tolist()
    few, many = quantile(sample[:16]), quantile(sample)
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_quantile_is_the_one_asked_for() -> None:
    values = [float(value) for value in range(101)]
    assert (quantile(values).value, quantile(values, 0.99).value) == (50, 99)


def test_a_slope_is_how_much_comes_with_each_step() -> None:
    noise = np.random.default_rng(7).normal(0, 20, 40)
    grown = slope([(25.0 * n, 1000 + 3 * 25.0 * n + noise[n]) for n in range(40)])
    assert grown.low < 3 < grown.high
    assert grown.value == pytest.approx(3, abs=0.1)


def test_what_goes_up_and_down_by_itself_has_no_slope_that_was_shown() -> None:
    walk = np.cumsum(np.random.default_rng(7).choice([-1, 1], 40))
    grown = slope([(float(n), 100.0 * (n % 2) + float(walk[n])) for n in range(40)])
    assert grown.low < 0 < grown.high


def test_a_ratio_of_two_figures_is_as_unsure_as_both() -> None:
    assert Estimate(10, 8, 12).over(Estimate(5, 4, 6)) == Estimate(2, 8 / 6, 3)


def test_two_readers_of_one_run_get_the_same_interval() -> None:
    assert quantile([1.0, 2.0, 4.0, 8.0]) == quantile([1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("goal", "figure", "verdict"),
    [
        (Goal(2, "≤"), Estimate(1.5, 1.0, 2.0), Verdict.PASS),
        (Goal(2, "≤"), Estimate(1.5, 1.0, 2.1), Verdict.UNRESOLVED),
        (Goal(2, "≤"), Estimate(2.5, 1.9, 3.0), Verdict.UNRESOLVED),
        (Goal(2, "≤"), Estimate(2.5, 2.1, 3.0), Verdict.FALLS_SHORT),
        (Goal(0.75, "≥"), Estimate(0.8, 0.75, 0.9), Verdict.PASS),
        (Goal(0.75, "≥"), Estimate(0.8, 0.7, 0.9), Verdict.UNRESOLVED),
        (Goal(0.75, "≥"), Estimate(0.6, 0.5, 0.7), Verdict.FALLS_SHORT),
        (Goal(0, "≤"), Estimate.exact(0), Verdict.PASS),
    ],
)
def test_only_an_interval_on_one_side_of_the_bound_says_something(
    goal: Goal, figure: Estimate, verdict: Verdict
) -> None:
    assert goal.judge(figure) == verdict


def test_a_line_shows_figure_spread_goal_and_verdict() -> None:
    lines = [
        Line("speed", "380 MiB/s", "400 MiB/s", Estimate(0.95, 0.91, 1.02), goal=Goal(0.75, "≥")),
        Line("noise", "", "", Estimate(1.0, 0.9, 1.1)),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table("a bench", lines))
    speed, noise = console.export_text().splitlines()[-4:-2]
    assert all(word in speed for word in ("380 MiB/s", "400 MiB/s", "0.95 ×", "0.91 … 1.02", "≥ 0.75 ×", "pass"))
    assert "pass" not in noise


def test_numbers_keep_three_digits_that_count() -> None:
    assert [number(value) for value in (0, 0.0123, 0.123, 1.236, 12.34, 123.4, 12345.6)] == [
        "0",
        "0.012",
        "0.12",
        "1.24",
        "12.3",
        "123",
        "12,346",
    ]


def test_a_heading_shows_no_verdict() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table("a bench", [Line("G2  jobs a second", "load 0.3", "took 0:01:30")]))
    heading = re.split(r" {2,}", console.export_text().splitlines()[-3].strip())
    assert heading == ["G2", "jobs a second", "load 0.3", "took 0:01:30"]


def test_a_document_gets_the_same_figures() -> None:
    speed = Line("speed", "380 MiB/s", "400 MiB/s", Estimate(0.95, 0.91, 1.02), goal=Goal(0.75, "≥"))
    *_, heading, row = markdown([Line("G5  Uploads", "load 0.3", "took 0:03:00"), speed]).splitlines()
    assert heading == "| G5  Uploads | load 0.3 | took 0:03:00 |  |  |  |  |"
    assert row == "| speed | 380 MiB/s | 400 MiB/s | 0.95 × | 0.91 … 1.02 | ≥ 0.75 × | pass |"
