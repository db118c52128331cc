"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from api.app import create_app
from api.errors import STATUS, status_of
from config.settings import Settings
from domain import account_errors, errors, intake_errors, recording_errors, request_errors, webhook_errors
from domain.lifecycle import MOVES, WORKER_CRASHED, JobState
from tests.conftest import ROOT

ERRORS = (ROOT / "docs/reference/errors.md").read_text()
STATES = (ROOT / "docs/reference/states.md").read_text()
README = (ROOT / "README.md").read_text()

INTERNAL = {errors.BadSettings, errors.Refused, errors.IllegalMove, errors.AlreadyFinished, errors.Forbidden} | {
    account_errors.TooMuch
}
"""Stops a start, or is only ever met as one of its kinds."""


def tree(root: type[errors.EscribaError] = errors.EscribaError) -> list[type[errors.EscribaError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


MODULES = (errors, account_errors, intake_errors, recording_errors, request_errors, webhook_errors)
OURS = [kind for kind in tree() if kind.__module__ in {module.__name__ for module in MODULES}]


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind not in INTERNAL], ids=lambda kind: kind.code)
def test_every_error_code_is_explained(kind: type[errors.EscribaError]) -> None:
    assert f"`{kind.code}`" in ERRORS


def test_the_statuses_in_the_document_are_those_that_are_answered() -> None:
    requests = ERRORS.partition("## Answers to a request")[2].partition("## How a job can fail")[0]
    documented = {
        code: int(status)
        for codes, status in re.findall(r"^\| (`.*?`) \| (\d{3}) \|", requests, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    answered = {kind.code: next(STATUS[base] for base in kind.__mro__ if base in STATUS) for kind in OURS}
    assert {code: status for code, status in documented.items() if answered.get(code, status) != status} == {}
    assert documented["already_completed"] == status_of(errors.AlreadyFinished("completed"))


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawings = "".join(module.__doc__ or "" for module in MODULES)
    drawn = set(re.findall(r"^[│├└─ ]*([A-Z]\w+)  ", drawings, re.MULTILINE))
    assert drawn == {kind.__name__ for kind in OURS}


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in OURS]
    assert sorted(codes) == sorted(set(codes))
    assert f"`{WORKER_CRASHED['code']}`" in ERRORS


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_is_explained(state: JobState) -> None:
    assert f"| `{state}` |" in STATES


@pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move.source}-{move.name}")
def test_every_move_is_in_the_table(move) -> None:  # type: ignore[no-untyped-def]
    row = f"| {move.name} | `{move.source}` | `{move.target}` | {', '.join(move.actors)} | {move.guard} |"
    assert row in STATES


def test_every_route_is_in_the_readme(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    unnamed = [path for path in paths if path.rsplit("/", 1)[0] not in README]
    assert unnamed == ["/media/{token}"]  # only ever met as an audio_url


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`make ([a-z-]+)`", (ROOT / page).read_text())) <= targets


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:[\w.-]+/)+[\w.*-]+\.\w+)`|\]\(((?!http|#)[^)]+)\)", text)
    missing = [found for pair in named for found in pair if found and not list(ROOT.glob(found))]
    assert [path for path in missing if not Path(path).is_absolute()] == []
