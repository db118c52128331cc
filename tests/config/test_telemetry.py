"""What a process writes to its log: ids, no values, and of libraries next to nothing."""

import json
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT

PROCESS = """
import asyncio, gc, logging
from config import telemetry
from config.settings import LogSettings

telemetry.configure(LogSettings(level="debug"), process="test")
log = logging.getLogger("services.here")
with telemetry.bind(request_id="r-1"):
    with telemetry.bind(job_id="j-1"):
        log.debug("a debug line of ours")
    telemetry.note(job_id="j-2")
    log.info("known by now")
log.info("unbound")
telemetry.note(job_id="nowhere")
log.info("still unbound")
logging.getLogger("sse_starlette.sse").debug("chunk: canary")
logging.getLogger("httpx").info("GET https://canary")
try:
    raise KeyError("canary") from ValueError("canary")
except KeyError:
    log.exception("choked")

async def choke():
    raise RuntimeError("canary")

async def main():
    task = asyncio.create_task(choke())
    await asyncio.wait({task})
    del task
    gc.collect()

asyncio.run(main())
"""


def lines() -> list[dict[str, Any]]:
    said = subprocess.run([sys.executable, "-c", PROCESS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "canary" not in said.stderr
    return [json.loads(line) for line in said.stderr.splitlines()]


def test_lines_have_the_ids_that_are_bound_and_no_values() -> None:
    said = lines()
    assert [(line["message"], line.get("request_id"), line.get("job_id")) for line in said[:4]] == [
        ("a debug line of ours", "r-1", "j-1"),
        ("known by now", "r-1", "j-2"),
        ("unbound", None, None),
        ("still unbound", None, None),
    ]
    choked, unretrieved = said[4:]
    assert choked["error"]["type"] == "builtins.KeyError"
    assert choked["error"]["cause"]["type"] == "builtins.ValueError"
    assert (unretrieved["logger"], unretrieved["message"]) == ("asyncio", "Task exception was never retrieved")
    assert unretrieved["error"]["type"] == "builtins.RuntimeError"
