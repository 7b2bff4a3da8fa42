"""predictd: epigenome imputation by tensor decomposition, and gene networks on the same engines.

>>> import predictd
>>> tensor = predictd.ingest("tracks.tsv", "tensor", genome="hg38")
>>> model = predictd.train(tensor)
>>> model.impute(tensor, "E003:H3K27ac", region="chr1:1,000,000-1,100,000")

The names are listed in `__init__.pyi`. Importing the package is light: what is behind a name is imported when the name
is first asked for.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("predictd")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
