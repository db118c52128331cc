"""What goes out to many clients is made once."""

from uuid import uuid4

from api.event_streams import Encoder
from domain.events import Cursor, Event
from domain.lifecycle import JobState


def progress(done: int) -> Event:
    return Event(type="progress", job_id=uuid4(), status=JobState.PROCESSING, progress=done)


def test_clients_of_one_job_get_the_same_bytes() -> None:
    encoder, event = Encoder(), progress(7)
    frame = encoder.encode(event, None)
    assert encoder.encode(event, None) is frame
    assert frame.startswith(b"data: {") and b'"progress":7' in frame


def test_a_client_that_stands_elsewhere_gets_its_own_id() -> None:
    encoder, event = Encoder(), progress(7)
    frames = [encoder.encode(event, Cursor(seq=seq)) for seq in (1, 2, 2)]
    assert [frame.split(b"\r\n")[0] for frame in frames] == [b"id: 1.0.0.0", b"id: 2.0.0.0", b"id: 2.0.0.0"]


def test_what_is_told_next_is_not_what_was_told_before() -> None:
    encoder = Encoder()
    assert [b'"progress":%d' % done in encoder.encode(progress(done), None) for done in (1, 2)] == [True, True]
