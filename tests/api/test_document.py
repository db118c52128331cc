"""The OpenAPI document against the API: whatever is sent, the answer is one that the document has.

SCHEMATHESIS_EXAMPLES says how many requests an operation gets of each kind, and has every bound of every field tried
besides: `make fuzz-api` takes many, and minutes.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from config.load import load_settings
from config.settings import Settings
from services.platform import Platform
from tests.api.test_identities import CLOSED
from tests.support.at_work import at_work
from tests.support.endpoints import OPEN
from tests.support.people import administrator, key_of
from tests.support.scripted import ScriptedEngine

THOROUGH = "SCHEMATHESIS_EXAMPLES" in os.environ
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "6")
PHASES = "examples,coverage,fuzzing,stateful" if THOROUGH else "examples,fuzzing"
SEED = "20261120"

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


ALL_SCOPES = ("jobs:read", "jobs:write", "jobs:interactive", "settings", "admin")
CHANGES_USERS = "/users/{user_id}"
OF_PEOPLE = ("--include-path-regex", "^/users", "--exclude-path", CHANGES_USERS)
"""What no key may do; without what would find out who sends all this, and disable them."""


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    said = {"AUTH": "required", "JWT_SECRET_KEY": "a signing key for tests of 32 bytes", "REGISTRATION": "open"}
    return load_settings(environ | said | OPEN)


def operations(settings: Settings) -> list[tuple[str, str, Any]]:
    """Path, method, and what the document says of it."""
    paths = create_app(settings).openapi()["paths"]
    return [(path, method, said) for path, methods in paths.items() for method, said in methods.items()]


async def fuzz(url: str, folder: Path, credential: str, *options: str) -> dict[str, Any]:
    """What schemathesis counted, which is 0 failures; what it says goes to standard output."""
    report = folder / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--header", f"Authorization: Bearer {credential}", "--max-examples", EXAMPLES, "--seed", SEED),
        *("--generation-database", "none", "--continue-on-failure", "--no-color"),
        *("--phases", PHASES),
        *("--report", "json", "--report-json-path", str(report), *options),
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=folder)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout[done.stdout.find("FAILURES") :] + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


async def test_whatever_a_machine_sends_the_answer_is_in_the_document(
    url: str, client: httpx.AsyncClient, platform: Platform, settings: Settings, tmp_path: Path
) -> None:
    key = await key_of(client, await administrator(platform, client), *ALL_SCOPES)
    async with at_work(platform, ScriptedEngine()):  # as there are answers that wait for the end of a job
        found = await fuzz(url, tmp_path, key["Authorization"].removeprefix("Bearer "))
    assert found["operations"]["tested"] == len(operations(settings))
    assert found["test_cases"]["generated"] > 500


async def test_whatever_a_person_sends_about_accounts_the_answer_is_in_the_document(
    url: str, client: httpx.AsyncClient, platform: Platform, settings: Settings, tmp_path: Path
) -> None:
    admin = await administrator(platform, client)
    found = await fuzz(url, tmp_path, admin.access, *OF_PEOPLE)
    about = [path for path, *_ in operations(settings) if path.startswith("/users") and path != CHANGES_USERS]
    assert found["operations"]["tested"] == len(about)
    assert (await client.get("/users/me", headers=admin.headers)).status_code == 200, "else little was tested"


def test_every_route_names_what_comes_before_it(settings: Settings) -> None:
    for path, method, operation in operations(settings):
        said = {status: answer.get("description", "") for status, answer in operation["responses"].items()}
        asks = f"{method.upper()} {path}" in CLOSED
        assert ("security" in operation) == asks == ("unauthenticated" in said.get("401", "")), path
        assert "host_not_allowed" in said["403"]
        assert "503" in said
        if "requestBody" in operation:
            assert "body_too_large" in said["413"]
    assert "HTTPValidationError" not in json.dumps(create_app(settings).openapi())
