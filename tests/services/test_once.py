"""What makes two requests the same."""

from services import once


def test_a_request_is_the_same_in_whatever_order_it_is_said() -> None:
    left = once.fingerprint(options={"engine": "auto", "own": {"a": 1, "b": 2}}, filename="a.wav")
    right = once.fingerprint(filename="a.wav", options={"own": {"b": 2, "a": 1}, "engine": "auto"})
    assert left == right
    assert left != once.fingerprint(filename="a.wav", options={"engine": "auto", "own": {"a": 1, "b": 3}})
