"""Export and the flags of hardware as a user runs them."""

import json

import jax
import jobs
import nir
import nmnist_files
import numpy as np
import pytest
from commands import command
from jax import export as jax_export

from sast_jax.errors import InputError
from sast_jax.runs import reloaded
from sast_jax.snn.quantisation import Rounding


def train(folder, name, **changes):
    config = jobs.settings(folder, workdir=str(folder / name), **changes)
    return jobs.train(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs that NIR can say, and one that it cannot."""
    folder = tmp_path_factory.mktemp("hardware")
    nmnist_files.dataset(folder / "data")
    train(folder, "zero", **{"lif.reset": "zero", "sweep.seeds": 2, "epochs": 8})
    train(folder, "subtract", **{"lif.reset": "subtract"})
    return folder


def test_an_exported_file_evaluates_as_the_run(folder, tmp_path):
    runs = json.loads((folder / "zero" / "results.json").read_text())["runs"]
    where = f"--checkpoint={folder / 'zero'}"
    for parameterisation, run in (("A", 0), ("B", 1)):
        flags = (f"--parameterisation={parameterisation}", f"--run={run}")
        code, out, err = command("export", where, *flags, f"--out={tmp_path / 'a.nir'}")
        assert code == 0, err
        assert out.startswith(f"run {run} of 2; --run chooses another: seed {run}, rho ")
        assert f"\n{tmp_path / 'a.nir'}: " in out
        norse = "norse.torch.from_nir(" if parameterisation == "B" else "would compute something"
        assert f"Norse: {norse}" in out and "import_from_nir(nir.read(" in out
        flags = (f"--data_path={folder / 'data'}", f"--json={tmp_path / 'out.json'}")
        code, out, err = command("evaluate_nir", f"--file={tmp_path / 'a.nir'}", *flags)
        assert code == 0, err
        found = json.loads((tmp_path / "out.json").read_text())
        assert found["hard_accuracy"] == runs[run]["hard_accuracy"]
        assert found["hard_confusion"] == runs[run]["hard_confusion"]
    assert nir.read(tmp_path / "a.nir").metadata["run"] == 1
    code, out, err = command(
        "evaluate_nir", f"--file={tmp_path / 'a.nir'}", flags[0], "--dt=2e-4", "--data.time_bins=3"
    )
    assert code == 0, err
    for line in ("dt 0.0001; dt 0.0002", "time_bins 4; data.time_bins 3"):
        assert f"note: the file says {line} is taken\n" in out


@pytest.mark.slow
def test_networks_in_integers_leave_as_folders(folder, tmp_path):
    where = f"--checkpoint={folder / 'subtract'}"
    code, out, err = command("export", where, "--format=integers", f"--out={tmp_path / 'i'}")
    assert code == 0, err
    assert "weights of 8 bits" in out
    about = json.loads((tmp_path / "i" / "network.json").read_text())
    assert about["reset"] == "subtract" and about["membrane_bits"] == 16
    assert about["origin"]["run"] == 0 and about["origin"]["rho"] == 0.4
    assert "right answers on 40 test recordings of N-MNIST, recordings from " in out
    with np.load(tmp_path / "i" / "golden.npz") as golden:
        answers, count = golden["answers"], len(golden["frames"])
    flags = where, f"--data_path={folder / 'data'}", "--hardware.membrane_bits=12"
    code, out, err = command(
        "export", *flags, "--format=c", "--weight_bits=4", f"--out={tmp_path / 'c'}"
    )
    assert code == 0, err
    assert "weights of 4 bits, membrane words of 12" in out and "us |" in out
    assert out.strip().endswith((tmp_path / "c" / "README.md").read_text().strip())
    assert "rho 0.4" in out and "| right answers on 40 test recordings of N-MNIST, " in out
    assert len((tmp_path / "c" / "answers.txt").read_text().split()) == len(answers) == count
    code, _, err = command("export", where, "--format=c", f"--out={folder / 'subtract'}")
    assert code == 2 and "subtract: holds a run; name another folder" in err
    code, _, err = command(
        "export", where, "--format=c", f"--out={tmp_path / 'd'}", "--hardware.membrane_bits=3"
    )
    assert code == 2 and "a membrane of 3 bits cannot hold 16 times the threshold" in err
    for kind, flag in (("c", "--hardware.draws=2"), ("nir", "--hardware.leak=shifts")):
        code, _, err = command("export", where, f"--format={kind}", f"--out={tmp_path / 'e'}", flag)
        name = flag.partition("=")[0]
        assert (code, err) == (2, f"error: {name}: --format={kind} does not use it; leave it out\n")


def test_weights_of_few_bits_are_exported_with_their_scales(folder, tmp_path):
    flags = (f"--checkpoint={folder / 'zero'}", "--weight_bits=3", f"--out={tmp_path / 'a.nir'}")
    code, out, err = command("export", *flags)
    assert code == 0, err
    assert "weights of 3 bits" in out

    graph = nir.read(tmp_path / "a.nir")
    for number in (1, 2):
        node = graph.nodes[f"connection_{number}"]
        integers = node.weight / node.metadata["scale"][:, None]
        np.testing.assert_allclose(integers, np.round(integers), atol=1e-5)
        assert np.abs(integers).max() <= 3.001


@pytest.mark.slow
def test_what_nir_cannot_say_goes_to_stablehlo(folder, tmp_path):
    flags = (f"--checkpoint={folder / 'subtract'}", f"--out={tmp_path / 'a'}")
    code, _, err = command("export", *flags)
    assert code == 2
    said = "error: the neuron LIF has no node in NIR with the reset BySubtraction; train with "
    assert err.startswith(f"{said}--config.lif.reset=zero, or export with --format=stablehlo")
    assert err.count("\n") == 1
    assert not (tmp_path / "a").exists()
    adaptive = {"lif.neuron": "adaptive", "lif.reset": "zero", "hardware.weight_bits": (4,)}
    train(folder, "adaptive", **adaptive)
    code, _, err = command("export", f"--checkpoint={folder / 'adaptive'}", flags[1])
    said = "error: the neuron Adaptive has no node in NIR; export with --format=stablehlo or "
    assert (code, err) == (2, f"{said}--format=onnx\n")
    code, _, err = command(
        "export", f"--checkpoint={folder / 'adaptive'}", "--format=c", f"--out={tmp_path / 'c'}"
    )
    said = "error: the neuron Adaptive has no integer form; export with --format=stablehlo or "
    assert (code, err) == (2, f"{said}--format=onnx\n")
    code, _, err = command("export", *flags, "--format=stablehlo")
    assert code == 0, err
    program = jax_export.deserialize(bytearray((tmp_path / "a").read_bytes()))
    frames = np.ones((2, 4, 34, 34, 2), np.float32)
    found = reloaded.load(folder / "subtract")
    one = found.trained[0]
    expected = one.respond(one.hard_cell(), np.moveaxis(frames, 1, 0))
    np.testing.assert_allclose(program.call(frames)[0], one.model.readout(expected), rtol=1e-6)


def test_evaluate_takes_other_conditions_than_the_run(folder, tmp_path):
    levels = ("--hardware.weight_bits=5,", "--hardware.draws=2", "--hardware.weights=0.0,")
    others = [f"--hardware.{kind}=()" for kind in ("thresholds", "leaks", "dropped", "spurious")]
    where = (f"--checkpoint={folder / 'subtract'}", f"--json={tmp_path / 'out.json'}")
    worse = ("--corruptions.kinds=occlusion", "--corruptions.severities=1,5", "--above=20")
    code, out, err = command("evaluate", *where, *levels, *others, *worse)
    assert code == 0, err
    done = json.loads((tmp_path / "out.json").read_text())
    rows = {row["condition"]: row for row in done["hardware"]}
    assert set(rows) == {"INT5", "weight mismatch 0", "dead neurons 0.05"}
    assert rows["weight mismatch 0"]["hard_accuracy"] == done["hard_accuracy"]
    assert done["config"]["hardware"]["weight_bits"] == [5]
    worse = [(row["kind"], row["level"]) for row in done["corruptions"]]
    assert worse == [("occlusion", 1), ("occlusion", 5)]
    assert done["recordings"] == 20
    assert "INT5" in out


@pytest.mark.parametrize(
    "module, flags, message",
    [
        ("evaluate", ["--hardware.weight_bits=1,"], "--hardware.weight_bits=1 must be from 2"),
        ("evaluate", ["--hardware.word=1"], "no key hardware.word; "),
        (
            "evaluate",
            ["--hardware.membrane_bits=4", "--hardware.weight_bits=8,"],
            "a membrane of 4 bits cannot hold 16 times the threshold of layer 1",
        ),
        ("evaluate", ["--hardware.leak_bits=2"], "a leak of 2 bits expresses the decay 0.9 as 4/4"),
        ("export", ["--out=a.nir", "--run=2"], "--run=2: choose from 0 to 1"),
        ("export", ["--out=a.nir", "--weight_bits=1"], "weights of 1 bits: choose from 2"),
        ("export", ["--out=/none/a.nir"], "/none/a.nir: cannot be written"),
        ("export", ["--out=a.nir", "--dt=0"], "--dt=0.0 must be above 0 seconds"),
        ("export", ["--out=a.nir", "--dt=nan"], "--dt=nan must be above 0 seconds"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder, module, flags, message):
    code, out, err = command(module, f"--checkpoint={folder / 'zero'}", *flags)
    assert code == 2, (out, err)
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert "Traceback" not in err


def test_a_file_that_is_not_ours_is_named(tmp_path):
    (tmp_path / "a.nir").write_text("no graph")
    code, _, err = command("evaluate_nir", f"--file={tmp_path / 'a.nir'}", "--data_path=.")
    assert code == 2
    assert err == (
        f"error: {tmp_path / 'a.nir'}: not a NIR file that can be read "
        "(Unable to synchronously open file (file signature not found))\n"
    )


@pytest.fixture(scope="module")
def exported(folder):
    path = folder / "zero.nir"
    code, _, err = command("export", f"--checkpoint={folder / 'zero'}", f"--out={path}")
    assert code == 0, err
    return path


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("time_bins", "six", "its metadata cannot be used (invalid literal"),
        ("time_bins", 0, "its metadata cannot be used (config.data.time_bins=0 must be"),
        ("readout", "votes", "its metadata cannot be used (readout 'votes' is none of spikes"),
        ("trained_on", None, "its metadata cannot be used ('trained_on')"),
    ],
)
def test_metadata_that_were_changed_are_named(folder, exported, tmp_path, key, value, message):
    path = tmp_path / "a.nir"
    graph = nir.read(exported)
    graph.metadata = {k: v for k, v in graph.metadata.items() if k != key}
    graph.metadata |= {} if value is None else {key: value}
    nir.write(path, graph)
    code, _, err = command("evaluate_nir", f"--file={path}", f"--data_path={folder / 'data'}")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith(f"error: {path}: {message}")


@pytest.mark.slow
def test_a_file_of_another_program_goes_through_the_bench(folder, exported, tmp_path):
    """Its dt and its way of saying things are stated; its page is that of a network in a file."""
    graph = nir.read(exported)
    path = tmp_path / "other.nir"
    nir.write(path, nir.NIRGraph(graph.nodes, graph.edges))  # without what export says of it
    done = json.loads((folder / "zero" / "results.json").read_text())
    expected, bins = done["runs"][0], done["config"]["data"]["time_bins"]
    data = f"--data_path={folder / 'data'}", f"--data.time_bins={bins}"
    where = f"--network={path}", *data, f"--out={tmp_path / 'page'}"
    quick = "--hardware.weight_bits=4,", "--hardware.draws=1", "--corruptions.kinds=noise"
    code, _, err = command("bench", *where, *quick)
    assert code == 2 and "does not say how long a step is; say who wrote it with --source=" in err
    code, _, err = command("bench", *where, *quick, "--source=spikingjelly")
    assert code == 0, err
    done = json.loads((tmp_path / "page" / "results.json").read_text())
    (run,) = done["runs"]
    assert run["hard_accuracy"] == expected["hard_accuracy"]
    assert run["operations"]["effective_acs"] == expected["operations"]["effective_acs"]
    assert run["hardware"][0]["condition"] == "INT4"
    assert run["hardware"][0]["integer_accuracy"] is not None
    text = (tmp_path / "page" / "report.md").read_text()
    assert "steps of 0.0001 s" in text and "INT4" in text and "nan" not in text.lower()
    code, _, err = command("bench", *where, *quick, "--source=norse")
    # At another step it is another network, whose leak is too small for 8 bits.
    assert code == 2 and "INT4: a leak of 8 bits expresses the decay 0.999" in err
    assert "steps of 1e-06 s" in (tmp_path / "page" / "report.md").read_text()
    flags = f"--file={path}", *data, "--source=snntorch"
    code, _, err = command("evaluate_nir", *flags, f"--json={tmp_path / 'e.json'}")
    assert code == 0, err
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["hard_confusion"] == expected["hard_confusion"]
    code, _, err = command("evaluate_nir", *flags, "--data.window=3")
    assert code == 2 and "--data.window: nmnist has no such key" in err
    code, _, err = command("evaluate_nir", *flags, "--dt=0")
    assert code == 2 and "--dt=0.0 must be above 0 seconds" in err
    code, _, err = command("evaluate_nir", f"--file={tmp_path}", *data)
    assert code == 2 and "is a folder; name a NIR file" in err


def test_a_chip_that_cannot_hold_a_network_loses_nothing(folder):
    with pytest.raises(InputError, match=r"INT8: a membrane of 3 bits .* experiments\.evaluate"):
        train(folder, "narrow", **{"hardware.membrane_bits": 3, "hardware.weight_bits": (8,)})
    done = json.loads((folder / "narrow" / "results.json").read_text())
    assert 0 <= done["runs"][0]["hard_accuracy"] <= 1
    (row,) = done["runs"][0]["hardware"]
    assert row["integer_accuracy"] is None and row["hard_accuracy"] is not None
    assert (folder / "narrow" / "report.html").exists()


def test_fine_tuning_starts_from_the_weights_of_a_run(folder):
    start = {"initial": str(folder / "zero"), "lif.reset": "zero", "sweep.seeds": 2}
    little = {"learning_rate": 1e-9, "epochs": 1, "weights.bits": 2}
    train(folder, "tuned", **start, **little)
    before, after = (reloaded.load(folder / name).trained.params for name in ("zero", "tuned"))
    expected = jax.vmap(Rounding(2))(before)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    one = {**start, "sweep.seeds": 1, **little}
    with pytest.raises(InputError, match=r"another network or another number of runs"):
        train(folder, "fewer", **one)
    with pytest.raises(InputError, match=r"another network or another number of runs"):
        train(folder, "wider", **{**start, "network.hidden": (17,), **little})
    held_out = {**start, **little, "data.validation": 0.2}
    with pytest.raises(InputError, match="was trained on recordings that are held out here"):
        train(folder, "leaking", **held_out)
    with pytest.raises(InputError, match="no run there; name its workdir"):
        train(folder, "nothing", **{**start, "initial": str(folder / "data")})


def test_a_run_of_one_seed_starts_all_others(folder):
    start = {"initial": str(folder / "subtract"), "lif.reset": "subtract", "sweep.seeds": 3}
    train(folder, "three", **start, **{"learning_rate": 1e-9, "epochs": 1})
    before, after = (
        reloaded.load(folder / name).trained.params["Dense_0"]["kernel"]
        for name in ("subtract", "three")
    )
    np.testing.assert_allclose(after, np.repeat(before, 3, axis=0), atol=1e-6)
