"""Properties that a producer has written in its own way are read as well as they can be.

The broker takes any bytes for a name and any number for a time; pamqp raises where they are not UTF-8, or no date of
ours, and its connection is lost with every message in hand. The broker would send the same message again, for ever.
"""

import struct
from datetime import UTC, datetime

from pamqp import common, decode

NO_TIME = datetime.fromtimestamp(0, UTC)


def read_leniently() -> None:
    """From here on, in this process."""
    decode.METHODS |= {"shortstr": _short_str, "timestamp": _timestamp, "table": _table}
    decode.TABLE_MAPPING |= {b"T": _timestamp, b"F": _table}


def _short_str(value: bytes) -> tuple[int, str]:
    """Names that differ stay different."""
    end = value[0] + 1
    return end, value[1:end].decode("utf-8", "backslashreplace")


def _timestamp(value: bytes) -> tuple[int, datetime]:
    """In seconds or milliseconds; others count another way, or from another year."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, NO_TIME


def _table(value: bytes) -> tuple[int, common.FieldTable]:
    """One whose keys are not UTF-8 counts as empty."""
    try:
        return decode.field_table(value)
    except UnicodeDecodeError:
        (length,) = struct.unpack(">I", value[:4])
        return 4 + int(length), {}
