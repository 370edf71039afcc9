"""Default run on N-MNIST, with SAM; ``nmnist_robust.py``, without it, is more accurate.

python -m experiments.nmnist --config.rho=0.4
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.rho = 0.4  # SAM radius; 0 trains without SAM
    config.seed = 0  # of a single run; a sweep uses seed .. seed + sweep.seeds - 1
    config.epochs = 45  # passes over the training recordings
    config.batch_size = 64  # recordings of a step
    config.learning_rate = 1e-3  # at the start, after which the schedule is
    config.schedule = "cosine"  # of the learning rate: "cosine" (to 0) or "constant"

    config.optimizer = "adam"  # "adam" or "sgd", which is plain
    config.weight_decay = 0.0  # of AdamW; 0: Adam
    config.batches = "shuffled"  # a pass over the set, or each drawn "independent" of all others

    config.forward = "surrogate"  # training forward pass: "surrogate" (smooth) or "hard"
    config.spike = "sigmoid"  # "sigmoid" or "arctan"
    config.slope = 2.0  # of the smooth spike at the start ...
    config.slope_end = 8.0  # ... and at the end, grown geometrically (equal: no annealing)
    config.readout = "spikes"  # class scores: time-mean of output "spikes" or of "current"
    config.readout_scale = 10.0  # factor on them

    config.lif = ConfigDict()
    config.lif.decay = 0.9  # share of the membrane potential left after one step
    config.lif.threshold = 1.0  # potential at which a neuron spikes
    config.lif.reset = "subtract"  # "zero" or "subtract"

    config.network = ConfigDict()
    config.network.channels = ()  # of convolutional layers of stride 2; empty: an MLP
    config.network.kernel = 5  # side of their kernels in pixels
    config.network.hidden = (256, 256)  # widths of the fully connected layers before the outputs
    config.network.gain = 1.0  # factor on the initial weights' standard deviation
    config.network.segment = 0  # steps of time between kept states, to save memory; 0: keep all

    config.neurons = ConfigDict()  # in training alone
    config.neurons.noise = 0.0  # standard deviation of noise on potentials, in thresholds
    config.neurons.hard = 0.0  # probability that a smooth spike is hard instead
    config.rates = ConfigDict()
    config.rates.target = 0.0  # of the mean spike, 0..1; the loss grows with the squared distance
    config.rates.weight = 0.0  # times this; 0: no penalty
    config.adversary = ConfigDict()  # adversarial mismatch of the weights, in the loss
    config.adversary.weight = 0.0  # of the divergence that it causes; 0: none
    config.adversary.spread = 0.1  # largest relative change of a weight, and a tenth at random
    config.adversary.steps = 3  # of the search for it, a gradient each

    config.sam = ConfigDict()
    # "sam", "unnormalised", "bounded", "vasso", "friendly" or "gsam"; with one gradient a step
    # "momentum" or "stale". sast_jax/sam.md says what each is for. "random": any direction. From
    # "gsam" on all need ascent_fraction=1.
    config.sam.method = "sam"
    config.sam.warmup = 0.2  # fraction of training over which the radius grows to rho
    config.sam.start = 0.0  # fraction of training after which SAM begins, in whole epochs
    config.sam.ascent_batch = "same"  # or "independent": a second minibatch for the ascent
    config.sam.ascent_fraction = 0.125  # share of the batch that the ascent gradient is taken on
    config.sam.adaptive = False  # ASAM's element-wise radius, with method "sam"
    config.sam.bound = 2.0  # of "bounded": the radius is at most so many times the gradient's norm
    config.sam.alpha = 0.1  # of "gsam": weight of the surrogate gap
    config.sam.group_size = 0  # m-sharpness: recordings that share a perturbation; 0: the batch

    config.weights = ConfigDict()  # as the forward pass sees them
    config.weights.bits = 0  # 2 to 8: quantisation-aware, rounded to so many bits ever after; 0: no
    config.weights.per_channel = True  # a scale for each output, else one a layer
    config.weights.noise = 0.0  # standard deviation of a factor on each, anew each step of training
    config.initial = ""  # workdir of a run whose weights to start from; empty: random ones

    config.hardware = ConfigDict()  # what the trained networks are tried under
    config.hardware.weight_bits = (8, 4, 3, 2)  # word widths; the first one also with faults
    config.hardware.per_channel = True  # a scale of the weights for each output, else one a layer
    config.hardware.scale = "error"  # least error of the currents, or "max": the largest weight
    config.hardware.calibration = 256  # training recordings whose currents count for "error"
    config.hardware.membrane_bits = 16  # of a potential: more of them resolve it more finely
    config.hardware.headroom = 16.0  # thresholds, or up to twice that, at which it saturates
    config.hardware.leak = "fraction"  # k / 2^leak_bits, or "shifts": a sum of shifts
    config.hardware.leak_bits = 8  # of the leak's fraction or shifts
    config.hardware.leak_error = 0.1  # largest error of 1 - decay that is accepted, as a share
    config.hardware.draws = 5  # devices of each level of what follows; 0: none
    config.hardware.weights = (0.1, 0.3, 0.6)  # mismatch: standard deviations of a factor
    config.hardware.thresholds = (0.1, 0.3)  # likewise, of thresholds
    config.hardware.leaks = (0.1,)  # and of leaks
    config.hardware.dead = (0.05,)  # share of the neurons
    config.hardware.dropped = (0.1, 0.3)  # share of the spikes
    config.hardware.spurious = (0.01, 0.05)  # probability a step

    config.corruptions = ConfigDict()  # of test recordings, that the trained networks are tried on
    config.corruptions.kinds = "all"  # or names with commas between them; empty: none
    config.corruptions.severities = (3,)  # of 1 to 5
    config.corruptions.seed = 0  # of what is drawn

    config.sweep = ConfigDict()  # a grid of runs in one program: all combinations
    config.sweep.seeds = 1  # from config.seed on
    config.sweep.rho = ()  # empty: config.rho alone; so with the others
    config.sweep.learning_rate = ()
    config.sweep.slope = ()  # slope_end keeps its ratio to slope
    config.sweep.decay = ()
    config.sweep.warmup = ()

    config.data = ConfigDict()
    # "folder": as published; "tonic": as tonic.datasets keeps it below the path; "simulated";
    # "auto": a folder, but simulated where the default path holds no recordings.
    config.data.source = "auto"
    config.data.path = "data/nmnist"  # holds train.zip and test.zip, or Train/ and Test/
    config.data.time_bins = 6  # frames per recording
    config.data.train_limit = 0  # use so many training recordings, drawn at random; 0: all
    config.data.test_limit = 0  # and so many test recordings
    config.data.validation = 0.0  # fraction of the training recordings held out, reported as well
    config.data.seed = 0  # of that split, of the limits and of the simulation
    config.data.stream = "auto"  # from the host's memory: "always", "never", or if it is too large
    config.data.shift = 1  # training recordings, never the others, move by up to so many pixels,
    config.data.rotation = 10.0  # turn and shear by up to so many degrees,
    config.data.zoom = 0.1  # and grow or shrink by up to this fraction

    config.resume = False  # go on from the workdir's last checkpoint
    config.workdir = ""  # default: runs/nmnist/<digest of this config and the data>
    return config
