"""What is written of an image depends on no other."""

import numpy as np
from test_embed import few_glyphs, run  # noqa: F401

from mamlbench.datasets.embeddings import read_embeddings


def test_what_is_written_of_an_image_depends_on_no_other(tmp_path, monkeypatch):
    found = []
    for count in (200, 7):
        monkeypatch.setattr("mamlbench.embed._EMBEDDED_AT_ONCE", count)
        run(tmp_path / f"{count}.npz", epochs=1)
        found.append(read_embeddings(tmp_path / f"{count}.npz").images)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
