"""Default run on recordings of your own, from a folder with one for each class.

python -m experiments.recordings --config.data.path=FOLDER
"""

from ml_collections import ConfigDict

from sast_jax.runs import settings


def get_config() -> ConfigDict:
    return settings.config("recordings")
