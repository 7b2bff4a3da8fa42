"""Files: tracks, tables, the tensor's shards, models and checkpoints."""

import logging

# It complains of every HDF5 filter that it does not find. Tensors need one, whose absence HDF5 tells by itself.
logging.getLogger("hdf5plugin").setLevel(logging.CRITICAL)
