import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch):
    """All saved figures, as matplotlib objects."""
    kept = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        kept.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept
