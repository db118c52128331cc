"""`escriba transcribe --set`: any field of the API, in the caller's words."""

import pytest
from click.testing import CliRunner

from cli.client import Client
from cli.main import cli


def test_what_is_no_pair_is_refused_before_anything_is_sent() -> None:
    told = CliRunner().invoke(cli, ["transcribe", __file__, "-s", "num_speakers"])
    assert told.exit_code == 2
    assert "FIELD=VALUE" in told.output


def test_every_field_is_sent_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def submit(_: Client, __: object, fields: dict[str, str], **___: object) -> None:
        sent.append(fields)
        raise SystemExit(0)

    monkeypatch.setattr(Client, "submit", submit)
    CliRunner().invoke(cli, ["transcribe", __file__, "-e", "auto", "-s", "hotwords=a=b", "-s", "num_speakers=2"])
    assert sent == [{"hotwords": "a=b", "num_speakers": "2", "engine": "auto"}]
