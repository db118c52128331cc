"""A pyannote pipeline in the real format with random small weights: it shows that the path works, never quality.

`python -m tests.support.diarization_model FOLDER`, with the Python of .venv-whisperx.
"""

import sys
from pathlib import Path

CONFIG = """\
version: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 4
    segmentation_step: 0.5
    embedding: $model/embedding
    embedding_batch_size: 4
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering: {threshold: 0.6, Fa: 0.07, Fb: 0.8}
  segmentation: {min_duration_off: 0.0}
"""

SECONDS = 5.0
"""What the segmentation hears at once; the published model hears 10."""


def write_model(folder: Path) -> None:
    from engines.server.models.whisperx_library import bring_in

    bring_in(offline=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG)
    _write_segmentation(folder / "segmentation")
    _write_embedding(folder / "embedding")
    _write_plda(folder / "plda")


def _write_segmentation(folder: Path) -> None:
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications  # type: ignore[import-not-found]
    from pyannote.audio.models.segmentation import PyanNet  # type: ignore[import-not-found]

    torch.manual_seed(7)
    model = PyanNet(lstm={"hidden_size": 16, "num_layers": 1, "bidirectional": True}, linear={"num_layers": 0})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=SECONDS,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    with torch.no_grad():
        model.classifier.bias[1] += 3.0  # one speaker at a time, so that somebody speaks whatever is heard
    _save(model, folder)


def _write_embedding(folder: Path) -> None:
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34  # type: ignore[import-not-found]

    torch.manual_seed(7)
    model = WeSpeakerResNet34()
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=SECONDS, classes=[]
    )
    _save(model, folder)


def _write_plda(folder: Path) -> None:
    """Transforms that leave embeddings (256 numbers) as they are, but for the last half of them."""
    import numpy as np

    folder.mkdir(exist_ok=True)
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=np.eye(256, 128))
    np.savez(folder / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(2.0, 0.5, 128))


def _save(model: object, folder: Path) -> None:
    from typing import Any, cast

    import lightning  # type: ignore[import-not-found]
    import torch
    from pyannote.audio import __version__  # type: ignore[import-not-found]

    module = cast("Any", model)
    folder.mkdir(exist_ok=True)
    checkpoint = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "pyannote.audio": {
            "versions": {"pyannote.audio": __version__},
            "architecture": {"module": type(module).__module__, "class": type(module).__name__},
            "specifications": module.specifications,
        },
    }
    torch.save(checkpoint, folder / "pytorch_model.bin")


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
