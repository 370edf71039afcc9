"""What a config may say."""

import dataclasses
import importlib
import json
import math
import pkgutil
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import configs
from experiments.configs import dvs_gesture, nmnist_sast
from sast_jax.data import sets
from sast_jax.errors import InputError
from sast_jax.fields import between, number, setting, several, switch, text
from sast_jax.runs import build, groups, settings
from sast_jax.runs.settings import Settings
from sast_jax.snn import neurons

CONFIGS = [name for _, name, _ in pkgutil.iter_modules(configs.__path__) if name != "assessment"]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configs_that_come_with_it_are_sound(name):
    settings.read(importlib.import_module(f"experiments.configs.{name}").get_config())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rho": -0.1}, "config.rho=-0.1 must be a number from 0 up"),
        ({"rho": math.nan}, "config.rho=nan"),
        ({"rho": math.inf}, "config.rho=inf"),
        ({"epochs": 0}, "config.epochs=0"),
        ({"batch_size": 0}, "config.batch_size=0"),
        ({"learning_rate": 0.0}, "config.learning_rate=0.0 must be a number above 0"),
        ({"slope": -1.0}, "config.slope=-1.0"),
        ({"spike": "relu"}, "config.spike='relu' must be one of 'sigmoid', 'arctan'"),
        ({"forward": "soft"}, "config.forward='soft'"),
        ({"optimizer": "rmsprop"}, "config.optimizer='rmsprop' must be one of 'adam', 'sgd'"),
        (
            {"optimizer": "sgd", "weight_decay": 0.1},
            "config.weight_decay=0.1 must be 0 with config.optimizer='sgd'",
        ),
        ({"batches": "all"}, "config.batches='all' must be one of 'shuffled', 'independent'"),
        ({"schedule": "step"}, "config.schedule='step'"),
        ({"lif.decay": 1.5}, "config.lif.decay=1.5 must be a number from 0 to 1"),
        ({"lif.reset": "none"}, "config.lif.reset='none'"),
        ({"lif.threshold": 0.0}, "config.lif.threshold=0.0"),
        ({"network.hidden": (128, 0)}, "config.network.hidden=0"),
        ({"network.kernel": 4}, "config.network.kernel=4 must be an odd number"),
        ({"sam.warmup": 2.0}, "config.sam.warmup=2.0"),
        ({"sam.start": 1.0}, "config.sam.start=1.0 must be early enough"),
        ({"sam.ascent_fraction": 1.5}, "config.sam.ascent_fraction=1.5"),
        ({"sam.ascent_batch": "other"}, "config.sam.ascent_batch='other'"),
        ({"sam.group_size": 16}, "config.sam.group_size=16"),
        ({"sam.group_size": 7, "sam.ascent_fraction": 1.0}, "config.sam.group_size=7"),
        (
            {"sam.group_size": 16, "sam.ascent_fraction": 1.0, "rates.weight": 1.0},
            "config.sam.group_size=16 must be 0 with config.neurons, .adversary and .rates",
        ),
        ({"sam.method": "sammy"}, "config.sam.method='sammy' must be one of 'sam', 'unnormalised'"),
        (
            {"sam.method": "vasso", "sam.adaptive": True},
            "config.sam.adaptive=True must be False with config.sam.method='vasso'",
        ),
        ({"sam.method": "gsam"}, "add --config.sam.ascent_fraction=1"),
        (
            {"sam.method": "stale", "sam.ascent_fraction": 1.0, "sam.ascent_batch": "independent"},
            "--config.sam.ascent_batch=same",
        ),
        (
            {"sam.method": "momentum", "sam.ascent_fraction": 1.0, "sam.group_size": 8},
            "config.sam.group_size=8 must be 0 with config.sam.method='momentum'",
        ),
        ({"sam.bound": 0.0}, "config.sam.bound=0.0"),
        ({"sam.alpha": -0.1}, "config.sam.alpha=-0.1"),
        ({"sweep.seeds": 0}, "config.sweep.seeds=0"),
        ({"sweep.rho": (0.0, "abc")}, "config.sweep.rho='abc'"),
        (
            {"sweep.rho": ("0,x",)},
            "config.sweep.rho='0,x' must be numbers with commas between them, or '()' for none",
        ),
        ({"sweep.rho": (0.0, -1.0)}, "config.sweep.rho=-1.0"),
        ({"sweep.rho": (0.4, 0.4)}, "config.sweep.rho=(0.4, 0.4) must be free of repetitions"),
        ({"seed": 2**31 - 1, "sweep.seeds": 2}, "config.sweep.seeds=2 must be smaller"),
        (
            {"sam.start": 0.9},
            "config.sam.start=0.9, in whole epochs 0.911, and",
        ),
        ({"epochs": 9, "sam.start": 0.5, "sam.warmup": 0.5}, "in whole epochs 0.556"),
        ({"network.kernel": 13}, "config.network.kernel=13"),
        ({"data.time_bins": 311}, "config.data.time_bins=311"),
        ({"sweep.decay": (0.9, 2.0)}, "config.sweep.decay=2.0"),
        ({"data.time_bins": 0}, "config.data.time_bins=0"),
        ({"data.validation": 1.0}, "config.data.validation=1.0"),
        ({"data.shift": -1}, "config.data.shift=-1"),
        ({"data.shift": 34}, "config.data.shift=34 must be a number from 0 to 33"),
        ({"data.source": "web"}, "config.data.source='web'"),
        ({"weights.bits": 1}, "config.weights.bits=1 must be from 2 (-1, 0, 1) to 8 bits"),
        ({"weights.noise": -0.1}, "config.weights.noise=-0.1"),
        ({"hardware.weight_bits": (8, 9)}, "config.hardware.weight_bits=9 must be from 2"),
        ({"hardware.dead": ("",)}, "config.hardware.dead='' must be numbers with commas"),
        (
            {"corruptions.kinds": "rain"},
            "config.corruptions.kinds='rain' must be 'all', or some of",
        ),
        ({"corruptions.kinds": "skew,skew"}, "config.corruptions.kinds='skew,skew' must be 'all'"),
        ({"corruptions.severities": (0,)}, "config.corruptions.severities=(0,) must be whole"),
        ({"corruptions.severities": (2.0,)}, "config.corruptions.severities=(2.0,) must be whole"),
        ({"corruptions.severities": (2, 2)}, "corruptions.severities=(2, 2) must be free of"),
        ({"hardware.weight_bits": ("a",)}, "config.hardware.weight_bits='a'"),
        (
            {"hardware.scale": "mean"},
            "config.hardware.scale='mean' must be one of 'error', 'max'",
        ),
        (
            {"hardware.membrane_bits": 33},
            "config.hardware.membrane_bits=33 must be a number",
        ),
        ({"hardware.headroom": 0.5}, "config.hardware.headroom=0.5 must be a number from 1"),
        (
            {"hardware.dropped": (0.1, 1.1)},
            "config.hardware.dropped=1.1 must be a number",
        ),
        ({"hardware.leaks": (-0.1,)}, "config.hardware.leaks=-0.1"),
        ({"hardware.leak_bits": 16}, "config.hardware.leak_bits=16 must be a number from 1 to 15"),
        ({"network.segment": 4}, "config.network.segment=4 must divide config.data.time_bins=6"),
        (
            {"data.stream": "yes"},
            "config.data.stream='yes' must be one of 'auto', 'always', 'never'",
        ),
        (
            {"hardware.leak_bits": 5, "hardware.leak_error": 0.3, "sweep.decay": (0.9, 0.99)},
            "a leak of 5 bits expresses the decay 0.99 as 32/32, which leaks",
        ),
        ({"lif.neuron": "izhikevich"}, "config.lif.neuron='izhikevich' must be one of 'lif'"),
        ({"lif.synapse_decay": 0.5}, "config.lif.synapse_decay=0.5 must be left as it is"),
        (
            {"lif.neuron": "synaptic", "lif.synapse_decay": 1.0},
            "config.lif.synapse_decay=1.0 must be a number from 0 to below 1",
        ),
    ],
    ids=str,
)
def test_a_bad_value_is_named_with_what_it_may_be(changes, message):
    config = nmnist_sast.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=re.escape(message)):
        settings.read(config)


def test_a_config_with_other_keys_is_refused():
    partial = ConfigDict({"rho": 0.4})
    with pytest.raises(InputError, match=r"config\.[\w.]+ is missing; a config starts from"):
        settings.read(partial)
    more = nmnist_sast.get_config()
    with more.unlocked():
        more.sam.rho = 0.4
    with pytest.raises(InputError, match=r"config\.sam\.rho is not known"):
        settings.read(more)


def flat(nest, prefix=""):
    if not isinstance(nest, dict):
        return {prefix: nest}
    return {k: v for key, part in nest.items() for k, v in flat(part, f"{prefix}.{key}").items()}


@pytest.mark.parametrize("module", [nmnist_sast, dvs_gesture])
def test_a_config_comes_back_as_it_was(module):
    config = module.get_config()
    read = settings.read(config)
    assert read.as_dict() == config.to_dict()
    assert settings.read(json.loads(json.dumps(config.to_dict()))) == read  # lists are tuples
    assert hash(settings.read(module.get_config())) == hash(read)


def test_every_key_says_what_it_means_once():
    for name in sets.SETS:
        fields = list(settings.flat_fields(Settings(data=sets.SETS[name]())))
        assert len(fields) > 80
        for key, field, _ in fields:
            assert field.metadata["about"], key
            assert field.metadata["wanted"], key


def test_a_key_that_was_not_there_takes_the_value_that_reproduces():
    config = nmnist_sast.get_config().to_dict()
    for key in ("neuron", "synapse_decay", "adaptation_decay", "adaptation"):
        del config["lif"][key]
    assert settings.read(config) == settings.read(nmnist_sast.get_config())
    del config["lif"]["decay"]
    with pytest.raises(InputError, match=r"config\.lif\.decay is missing"):
        settings.read(config)


def test_a_new_setting_may_have_another_default_than_what_reproduces(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Newer(Settings):
        dropout: float = setting(0.5, "of a later version", before=0.0)

    @dataclasses.dataclass(frozen=True)
    class Group:
        path: str = text("near", "of a later version", before="far")
        on: bool = switch(True, "of a later version", before=False)
        levels: tuple = several((1.0,), "of a later version", between(0, 2), before=())

    @dataclasses.dataclass(frozen=True)
    class WithGroup(Newer):
        later: Group = Group()

    older = nmnist_sast.get_config().to_dict()
    monkeypatch.setattr(settings, "Settings", WithGroup)
    read = settings.read(older)
    assert (WithGroup().dropout, read.dropout) == (0.5, 0.0)
    assert (WithGroup().later, read.later) == (Group(), Group("far", False, ()))
    assert settings.read(older | {"later": {"on": True}}).later == Group("far", True, ())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network.hidden": 5}, "config.network.hidden=5 must be whole numbers with commas"),
        ({"network.hidden": "ab"}, "config.network.hidden='ab' must be whole numbers"),
        ({"hardware.weight_bits": 8}, "config.hardware.weight_bits=8 must be numbers with commas"),
        ({"hardware.weight_bits": (4, 4)}, "hardware.weight_bits=(4, 4) must be free of repet"),
        ({"hardware.leak_bits": 0}, "config.hardware.leak_bits=0 must be a number from 1 to 15"),
        ({"network.kernel": 3.5}, "config.network.kernel=3.5 must be a whole number"),
        ({"adversary.weight": -1}, "config.adversary.weight=-1 must be a number from 0 up"),
        ({"hardware.dead": 0.1}, "config.hardware.dead=0.1 must be numbers with commas"),
        ({"sweep.rho": 0.4}, "config.sweep.rho=0.4 must be numbers with commas"),
        ({"corruptions.severities": 3}, "config.corruptions.severities=3 must be whole numbers"),
        ({"corruptions.kinds": 3}, "config.corruptions.kinds=3 must be 'all', or some of"),
        ({"workdir": 3}, "config.workdir=3 must be a text"),
        ({"resume": 1}, "config.resume=1 must be True or False"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_named(changes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Settings().changed(changes)


def test_changes_are_checked_and_leave_the_rest():
    first = settings.read(nmnist_sast.get_config())
    changed = first.changed({"rho": 0.1, "lif.decay": 0.8, "data.path": "elsewhere"})
    assert (changed.rho, changed.lif.decay, changed.data.path) == (0.1, 0.8, "elsewhere")
    assert changed.changed({"rho": 0.4, "lif.decay": 0.9, "data.path": "data/nmnist"}) == first
    with pytest.raises(InputError, match=r"config\.lif\.decay=2"):
        first.changed({"lif.decay": 2})


@dataclasses.dataclass(frozen=True)
class Tired(neurons.Resetting):
    """A neuron with a field that another one has too, with the same meaning."""

    adaptation: float = number(0.2, 0, math.inf, "rise of the threshold with each spike")


@dataclasses.dataclass(frozen=True)
class Bare(neurons.Neuron):
    """A neuron without reset, whose field says nothing of itself."""

    gain: float = 1.5


def test_neurons_may_share_a_key_and_must_explain_it():
    made = groups.with_keys_of(neurons.NEURONS | {"tired": Tired})
    (field,) = (field for field in dataclasses.fields(made) if field.name == "adaptation")
    assert field.metadata["about"].endswith("of 'adaptive' and 'tired' neurons")
    with pytest.raises(TypeError, match=r"Bare\.gain: make it with sast_jax\.fields"):
        groups.with_keys_of({"bare": Bare})

    @dataclasses.dataclass(frozen=True)
    class Other(neurons.Resetting):
        adaptation: float = number(0.3, 0, 1, "rise of the threshold with each spike")

    with pytest.raises(TypeError, match="'adaptive' have another field of this name"):
        groups.with_keys_of(neurons.NEURONS | {"other": Other})


def test_a_key_that_a_neuron_does_not_use_must_stay_as_it_is(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class NoReset(neurons.Neuron):
        pass

    monkeypatch.setitem(neurons.NEURONS, "lif", NoReset)
    assert build.neuron(Settings()) == NoReset()
    with pytest.raises(InputError, match=r"config\.lif\.reset='zero' must be left as it is"):
        Settings(lif=groups.LifKeys(reset="zero"))


@pytest.mark.parametrize("name", neurons.NEURONS)
def test_the_settings_of_a_neuron_are_those_of_its_class(name):
    own = {f.name: f.default for f in dataclasses.fields(neurons.NEURONS[name])}
    group = Settings().lif
    for key, default in own.items():
        if key not in ("threshold", "spike", "reset"):
            assert getattr(group, key) == default


def test_gestures_have_keys_of_their_own():
    for changes, message in (
        ({"data.side": 3}, "config.data.side=3"),
        ({"data.side": 48}, "config.data.side=48 must be 4 or more pixels that divide 128"),
        ({"data.bins": "frames"}, "config.data.bins='frames' must be one of 'time', 'events'"),
        ({"data.window": 0}, "config.data.windows=2 must be 1 for the whole recording"),
        ({"data.window": 10, "data.time_bins": 11}, "config.data.time_bins=11"),
        ({"data.shift": 32}, "config.data.shift=32 must be a number from 0 to 31"),
        ({"data.least": 0}, "config.data.least=0"),
    ):
        config = dvs_gesture.get_config()
        config.update_from_flattened_dict(changes)
        with pytest.raises(InputError, match=re.escape(message)):
            settings.read(config)


def test_a_whole_number_is_one():
    with pytest.raises(InputError, match=r"config\.epochs=2\.5 must be a whole number"):
        Settings(epochs=2.5)
    with pytest.raises(InputError, match=r"config\.network\.segment=2\.0 must be a whole number"):
        Settings().changed({"network.segment": 2.0})


def test_numbers_of_numpy_are_taken_for_pythons():
    config = settings.config("nmnist")
    config.batch_size, config.rho = np.int64(32), np.float32(0.5)
    config.sweep.rho = np.array([0.0, 0.25])
    config.network.hidden = (np.int32(16), 8)
    read = settings.read(config)
    assert (read.batch_size, read.rho) == (32, 0.5) and type(read.batch_size) is int
    assert read.sweep.rho == (0.0, 0.25) and read.network.hidden == (16, 8)
    assert settings.read(json.loads(json.dumps(read.as_dict()))) == read
