"""Promises that take no fault over time, only somebody who tries: named tests keep them, and must see planted bugs.

They run in a process of their own on a copy of the code, as campaigns do.
"""

import asyncio
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.chaos.campaign import Breach, Record
from tests.chaos.checkout import environ_of


@dataclass(frozen=True, slots=True)
class Tested:
    """A promise, and the tests that keep it: files, or tests by their names."""

    promise: str
    title: str
    fault: str
    tests: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    """How much of it there is, where that can be said."""


OWNERS = Tested(
    "P11",
    "No owner sees another's",
    "every route and stream × everybody who might ask, with our filters and without",
    ("tests/api/test_identities.py", "tests/db/test_row_security.py"),
)
MEDIA = Tested(
    "P12",
    "Hostile media cannot read, call, hang or bloat",
    "a corpus of hostile files, and 10,000 mutations",
    ("tests/media/test_hostile.py", "tests/media/test_corpus.py"),
    {"HOSTILE_MUTATIONS": "10000"},
)
ADDRESSES = Tested(
    "P13",
    "No webhook and no audio_url leads into our own network",
    "URLs and names that lead there, resolvers that change their minds, redirects",
    (
        "tests/messaging/test_webhook_sender.py",
        "tests/messaging/test_audio_url.py",
        "tests/api/test_webhooks.py::test_a_url_that_does_not_lead_to_the_public_internet_is_refused",
    ),
)
PATHS = Tested(
    "P13",
    "No request opens a file outside the folders that are served",
    "hostile paths, and links that take the places of files and folders while they are opened",
    ("tests/rabbitmq/test_audio_files.py",),
)
TOKENS = Tested(
    "P14",
    "Tokens cannot be forged; revocation is quick",
    "forged tokens, stolen ones, guesses, log-ins that are revoked under a stream",
    ("tests/api/accounts/test_tokens.py", "tests/api/accounts/test_logins.py"),
)

TESTED = (OWNERS, MEDIA, ADDRESSES, PATHS, TOKENS)


async def run(promise: Tested, code: Path, *tests: str) -> Record:
    """All tests of the promise in this copy of the code, or those named."""
    record, began = Record(promise.promise, promise.title, promise.fault), monotonic()
    with TemporaryDirectory(prefix="escriba-chaos-tests-") as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", *options, *(tests or promise.tests)),
            cwd=code,
            env={**os.environ, **promise.environ, **environ_of(code)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode not in (0, 1) or not report.exists():
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            record.breaches.append(Breach("the tests", last, "to run", " ".join(tests), vain=True))
        else:
            _read(ET.parse(report).getroot(), record)  # pytest's own
    record.seconds = monotonic() - began
    return record


def _read(report: ET.Element, record: Record) -> None:
    cases = list(report.iter("testcase"))
    skipped = [case for case in cases if case.find("skipped") is not None]
    record.injected = len(cases) - len(skipped)
    record.counted = {"tests that were skipped": len(skipped)}
    for case in cases:
        for figure in case.iter("property"):
            what, value = figure.attrib["name"], float(figure.attrib["value"])
            largest = what.startswith("most")
            kept = record.counted.get(what, 0)
            record.counted[what] = max(kept, value) if largest else kept + value
        for kind in ("failure", "error"):
            for found in case.iter(kind):
                record.breaches.append(_breach(case, found, vain=kind == "error"))
    record.counted["tests that failed"] = len(record.breaches)


def _breach(case: ET.Element, found: ET.Element, *, vain: bool) -> Breach:
    name = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}"
    return Breach("test", "failed", "to pass", f"{name}: {found.attrib.get('message', '').partition(chr(10))[0]}", vain)
