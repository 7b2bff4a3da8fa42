"""One target by arboreto's own code, for `bench_network.py boosting`; run by a Python that has arboreto.

arboreto 0.1.6 wants older libraries, in an environment of its own:

    python -m venv arboreto && arboreto/bin/pip install arboreto 'scikit-learn<1.3' 'numpy<1.24' 'pandas<2' \
        'dask[dataframe]<2023.6' 'distributed<2023.6'
"""

import json
import sys
import time

import numpy as np
from arboreto.core import EARLY_STOP_WINDOW_LENGTH, SGBM_KWARGS, fit_model, to_feature_importances

if __name__ == "__main__":
    with np.load(sys.argv[1]) as given:
        regulators, target = given["regulators"], given["target"]
    start = time.process_time()
    fitted = fit_model("GBM", SGBM_KWARGS, regulators.T, target, EARLY_STOP_WINDOW_LENGTH, seed=0)
    seconds = time.process_time() - start
    importances = to_feature_importances("GBM", SGBM_KWARGS, fitted)
    print(
        json.dumps(
            {"seconds": seconds, "trees": len(fitted.estimators_), "importances": importances.tolist()}
        )
    )
