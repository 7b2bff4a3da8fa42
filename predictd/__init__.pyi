from . import errors as errors
from . import network as network
from . import plot as plot
from .api.checks import qc as qc
from .api.checks import recommend as recommend
from .api.crossval import CrossValidation as CrossValidation
from .api.crossval import cross_validate as cross_validate
from .api.crossval import load_cross_validation as load_cross_validation
from .api.ingesting import ingest as ingest
from .api.model import Factors as Factors
from .api.model import Model as Model
from .api.model import extend as extend
from .api.model import load_model as load_model
from .api.model import train as train
from .api.tensor import Tensor as Tensor
from .api.tensor import export as export
from .api.tensor import open_tensor as open_tensor
from .api.tracks import Evaluation as Evaluation
from .api.tracks import Simulated as Simulated
from .api.tracks import evaluate as evaluate
from .api.tracks import peaks as peaks
from .api.tracks import simulate as simulate
from .engine import LocalEngine as LocalEngine
from .errors import PredictdError as PredictdError
from .pairs import Experiment as Experiment

__version__: str
