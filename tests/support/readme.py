"""The README's curl commands, taken out of it and run by a real shell with a real curl."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"
ADDRESS = "http://127.0.0.1:8000"
BETWEEN = "\x1e\n"
"""ASCII's record separator, printed between blocks."""


def curl_blocks() -> list[str]:
    """The blocks of the section "Transcribe" that a reader pastes into a shell, in order."""
    section = README.read_text().partition("\n## Transcribe\n")[2].partition("\n## ")[0]
    return [block for block in re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE) if "curl" in block]


def block_with(text: str) -> str:
    """The one block that has `text`."""
    (found,) = [block for block in curl_blocks() if text in block]
    return found


def setting_up() -> str:
    """The first line, which names the address for all blocks."""
    return curl_blocks()[0].partition("\n")[0] + "\n"


def run(blocks: Sequence[str], *, url: str, instead: Mapping[str, str] | None = None) -> list[str]:
    """What each block prints. They run in one shell, so what one of them sets is there for the next.

    `instead`: what the reader would change, each of which has to be in the README as it is named here.
    """
    script = "\nprintf '\\036\\n'\n".join([setting_up(), *blocks])
    for said, meant in {ADDRESS: url, **(instead or {})}.items():
        assert said in script, f"the README does not say {said!r} any more"
        script = script.replace(said, meant)
    command = ["sh", "-euc", script]
    environ = {"PATH": os.environ["PATH"]}  # no proxy, and nobody's .curlrc
    done = subprocess.run(command, cwd=README.parent, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(BETWEEN)[1:]
