"""What a process has measured, as a test asks for it."""

from config.metrics import REGISTRY


class Grown:
    """What has been added to metrics since."""

    def __init__(self) -> None:
        self._before = self._samples()

    def __call__(self, name: str, **labels: str) -> float:
        key = (f"escriba_{name}", frozenset(labels.items()))
        return self._samples().get(key, 0.0) - self._before.get(key, 0.0)

    def _samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }
