"""The public face: what stands where. ``__init__.py`` loads these names when they are used."""

from sast_jax.data.arrays import frames as frames
from sast_jax.data.augmentation import Affine as Affine, Shift as Shift
from sast_jax.data.packing import Frames as Frames
from sast_jax.data.sets.own import recordings as recordings
from sast_jax.errors import DivergedError as DivergedError, InputError as InputError
from sast_jax.evaluation.evaluate import evaluate as evaluate
from sast_jax.sharpness import (
    adaptive_scale_to_norm as adaptive_scale_to_norm,
    bounded_scale_to_norm as bounded_scale_to_norm,
    eval_params as eval_params,
    friendly_sam as friendly_sam,
    gap_aware as gap_aware,
    minus_ema as minus_ema,
    momentum_sam as momentum_sam,
    perturb_ahead as perturb_ahead,
    ramp as ramp,
    sam as sam,
    scale_to_norm as scale_to_norm,
    sharpness_aware as sharpness_aware,
    vasso as vasso,
    within as within,
)
from sast_jax.snn.model import Model as Model
from sast_jax.snn.networks import MLP as MLP, ConvNet as ConvNet
from sast_jax.snn.neurons import (
    LIF as LIF,
    Adaptive as Adaptive,
    BySubtraction as BySubtraction,
    Neuron as Neuron,
    Reset as Reset,
    Synaptic as Synaptic,
    ToZero as ToZero,
)
from sast_jax.snn.quantisation import Rounding as Rounding
from sast_jax.snn.readouts import MeanCurrent as MeanCurrent, MeanSpikes as MeanSpikes
from sast_jax.training.batches import (
    Batches as Batches,
    Independent as Independent,
    Shuffled as Shuffled,
)
from sast_jax.training.controls import (
    Adversary as Adversary,
    Control as Control,
    HardForward as HardForward,
    RatePenalty as RatePenalty,
    StochasticNeurons as StochasticNeurons,
    WeightNoise as WeightNoise,
)
from sast_jax.training.gradients import (
    Ahead as Ahead,
    Grouped as Grouped,
    Plain as Plain,
    Sharpness as Sharpness,
)
from sast_jax.training.optimizers import (
    Adam as Adam,
    Constant as Constant,
    Cosine as Cosine,
    Sgd as Sgd,
)
from sast_jax.training.recipe import Recipe as Recipe
from sast_jax.training.train import train as train
from sast_jax.training.trained import Trained as Trained
