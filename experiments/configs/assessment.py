"""The assessment: which methods, on which recordings, how thoroughly.

python -m experiments.assessment --config.dataset=nmnist
python -m experiments.assessment --config=assessment:quick
python -m experiments.assessment --config=assessment:own --config.data.path=FOLDER
"""

from ml_collections import ConfigDict


def get_config(variant: str = "") -> ConfigDict:
    config = ConfigDict()
    config.dataset = "nmnist"  # or "dvs_gesture", "shd", "recordings"
    config.base = ""  # a config file of runs, in the place of the default regime's config
    config.regimes = "default,paper"  # of experiments/assessment/methods.py
    config.methods = "all"  # or names of experiments/assessment/methods.py with commas between them
    config.seeds = 10  # of each method as it is reported
    config.tuning_seeds = 3  # of each trial
    config.further = 2  # values beyond the grid, where the best lies at its edge
    config.epochs = 12  # of plain training, in both regimes; 0: as many as the config has
    config.minutes = 0  # methods that would not end in this time are left out; 0: none
    config.rounds = 20  # turns in which training times are measured; 0: none
    config.draws = 20  # devices of each level of mismatch
    config.severities = (1, 3, 5)  # of every kind of corruption

    config.data = ConfigDict()  # as in nmnist.py
    config.data.source = "auto"
    config.data.path = ""  # default: data/<dataset>
    config.data.train_limit = 0
    config.data.test_limit = 0
    config.data.validation = 1 / 6  # of the training recordings, to tune and calibrate on
    config.data.seed = 0

    config.workdir = ""  # default: runs/assessment/<digest of what rows rest on>
    if variant == "quick":  # to see that all of it works, on two cores in seven minutes
        config.regimes = "default"
        config.methods = "plain,plain twice as long,SAST,momentum-SAM,weight noise"
        config.seeds, config.tuning_seeds, config.further, config.epochs = 2, 1, 0, 8
        config.rounds, config.draws, config.severities = 3, 2, (3,)
        config.data.source, config.data.train_limit, config.data.test_limit = "simulated", 2000, 400
    elif variant == "own":  # recordings of your own
        config.dataset, config.regimes, config.minutes, config.epochs = (
            "recordings",
            "default",
            15,
            0,
        )
        config.methods = (
            "plain,plain twice as long,SAST,SAST ascent on 1/8,hard forward,hard forward with SAM,"
            "lost and added events,weights averaged,weight noise,chip with momentum-SAM"
        )
        config.seeds, config.tuning_seeds, config.further, config.rounds = 3, 1, 0, 3
        config.draws, config.severities = 5, (3,)
    elif variant:
        raise ValueError(f"assessment.py:{variant}: only 'quick' or 'own' may follow the colon")
    return config
