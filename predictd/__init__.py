"""predictd: epigenome imputation by tensor decomposition.

Importing the package is light: the parts that need HDF5, an engine or plots are imported where they are used.
"""

from importlib.metadata import version

__version__ = version("predictd")
__all__ = ["__version__"]
