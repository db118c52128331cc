"""`asr`: NVIDIA Riva, or a Speech NIM, over gRPC. What it guards against: docs/reference/riva.md."""

from engines.riva.engine import RivaEngine

__all__ = ["RivaEngine"]
