"""predictd: epigenome imputation by tensor decomposition, and gene networks on the same engines.

>>> import predictd
>>> tensor = predictd.ingest("tracks.tsv", "tensor", genome="hg38")
>>> model = predictd.train(tensor)
>>> model.impute(tensor, "E003:H3K27ac", region="chr1:1,000,000-1,100,000")

The names are listed in `__init__.pyi`. Importing the package is light: what is behind a name is imported when the name
is first asked for.
"""

from typing import Any

import lazy_loader

_behind, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _behind(name)
    # Its import takes half as long as all else that `predictd --help` needs.
    from importlib.metadata import version

    return version("predictd")
