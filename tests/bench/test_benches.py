"""What `make bench` is made of: every bench is there, and can be chosen by the figure that it measures."""

import importlib
import inspect
from pathlib import Path

import pytest
from rich.progress import Progress

from bench import __main__ as all_of_them
from bench.__main__ import BENCHES, Bench, chosen, run
from bench.measure import Estimate, Line

BENCH = Path(all_of_them.__file__).parent


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.module)
def test_a_bench_can_be_run_by_itself_and_with_all_others(bench: Bench) -> None:
    module = importlib.import_module(f"bench.{bench.module}")
    parameters = list(inspect.signature(module.measure).parameters.values())
    assert parameters[0].name == "bar"
    assert all(size.kind is size.KEYWORD_ONLY and size.default is not size.empty for size in parameters[1:])
    assert f"python -m bench.{bench.module}" in (module.__doc__ or "")
    assert all(f"{figure}" in (module.__doc__ or "") for figure in bench.figures)


def test_no_figure_is_measured_twice() -> None:
    figures = [figure for bench in BENCHES for figure in bench.figures]
    assert len(figures) == len(set(figures))


def test_benches_are_chosen_by_their_figures_in_the_order_of_the_table() -> None:
    assert [bench.module for bench in chosen("g19, G2")] == ["queue_rate", "idle"]
    assert chosen("G1") == chosen("G11")
    assert chosen("") == list(BENCHES)


def test_a_figure_that_nobody_measures_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"measures G99; there are G1, G2, .*, G22"):
        chosen("G2,G99")


def test_a_bench_that_breaks_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(self: Bench, _bar: Progress) -> list[Line]:
        if self.module == "idle":
            raise RuntimeError("broken")
        return [Line(self.module, "", "", Estimate.exact(1))]

    monkeypatch.setattr(Bench, "measure", measure)
    lines, complete = run(chosen("G19,G22"))
    assert [line.figure for line in lines] == ["G19  Idle", "G22  Workers that are killed", "kills"]
    assert not complete
    assert run(chosen("G22"))[1]
