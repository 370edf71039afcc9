"""What users get wrong: commands, and what stands in their folder (``{}``)."""

import nmnist_files
from commands import SMALL

QUICK = ("--config.data.path={}/data", *SMALL, "--config.epochs=1")
RUN = "--checkpoint={}/run"
MISTAKES = {
    "Flags and configs": [
        ("nmnist", "--rho=0.4"),
        ("nmnist", "--epochs=3"),
        ("nmnist", "--confg.rho=0.4"),
        ("nmnist", "rho=0.4"),
        ("nmnist", "--config.rhoo=0.4"),
        ("nmnist", "--config.sam.rho=0.4"),
        ("nmnist", "--config.rho=abc"),
        ("nmnist", "--config.rho=-0.1"),
        ("nmnist", "--config.rho=nan"),
        ("nmnist", "--config.epochs=ten"),
        ("nmnist", "--config.epochs=2.5"),
        ("nmnist", "--config.epochs=0"),
        ("nmnist", "--config.sweep.rho=0.1,0.1"),
        ("nmnist", "--config.sweep.rho=a,b"),
        ("nmnist", "--config.sweep.seeds=0"),
        ("nmnist", "--config.sam.method=asam"),
        ("nmnist", "--config.spike=relu"),
        ("nmnist", "--config.schedule=cosin"),
        ("nmnist", "--config.lif.decay=2"),
        ("nmnist", "--config.network.hidden=big"),
        ("nmnist", "--config.network.segment=4"),
        ("nmnist", "--config.mlp.sizes=100"),
        ("nmnist", "--config.hardware.weight_bits=1,"),
        ("nmnist", "--config.corruptions.kinds=fog"),
        ("nmnist", "--config.corruptions.severities=9,"),
        ("nmnist", "--config=missing.py"),
        ("nmnist", "--config={}/no_config.py"),
        ("nmnist", "--config={}/broken.py"),
        ("nmnist", "--config={}/exits.py"),
        ("nmnist", "--config", "--config.rho=0.1"),
        ("nmnist", "--config=nmnist_papr"),
        ("nmnist", "--config=dvs_gesture"),
        ("train", "--config.epochs=1"),
        ("shd", "--config.data.time_bins=0"),
        ("assessment", "--config.methods=plain,magic"),
        ("assessment", "--config.regimes=best"),
        ("assessment", "--config.seeds=1"),
        ("assessment", "--config.rho=0.1"),
        ("assessment", "--config=assessment:fast"),
        ("assessment", "--config.dataset=cifar"),
        ("assessment", "--scheduler=local"),
    ],
    "Recordings": [
        ("nmnist", "--config.data.path={}/nowhere"),
        ("nmnist", "--config.data.path={}/empty"),
        ("nmnist", "--config.data.path={}/file.txt"),
        ("nmnist", "--config.data.path={}/cut", *QUICK[1:]),
        ("nmnist", *QUICK, "--config.data.train_limit=-1"),
        ("nmnist", *QUICK, "--config.data.validation=1"),
        ("nmnist", *QUICK, "--config.batch_size=100000"),
        ("nmnist", "--config.data.source=simulate"),
        ("recordings", "--config.data.path={}/nowhere"),
        ("recordings", "--config.data.path={}/empty"),
        ("recordings",),
        ("dvs_gesture", "--config.data.source=folder", "--config.data.path={}/empty"),
        ("inspect",),
        ("inspect", "{}/nowhere"),
        ("inspect", "{}/file.txt"),
        ("inspect", "{}/empty"),
        ("inspect", ""),
        ("inspect", "~nobody_of_this_name/data"),
        ("likeness", "--data_path={}/file.txt"),
        ("likeness", "--data_path={}/data"),
    ],
    "Workdirs and files": [
        ("nmnist", *QUICK, "--config.workdir={}/run", "--config.rho=0.1"),
        ("nmnist", *QUICK, "--config.workdir={}/data"),
        ("nmnist", *QUICK, "--config.workdir={}/file.txt"),
        ("nmnist", *QUICK, "--config.workdir=/proc/run"),
        ("nmnist", *QUICK, "--config.workdir={}/run/plots/again"),
        ("nmnist", *QUICK, "--config.workdir=~nobody_of_this_name/run"),
        ("variants", "--data_path={}/data", "--workdir={}/run"),
        ("variants", "--data_path={}/data", "--regimes=best"),
        ("nmnist", *QUICK, "--config.workdir={}/fresh", "--config.initial={}/nowhere"),
        ("evaluate",),
        ("evaluate", "--checkpoint={}/nowhere"),
        ("evaluate", "--checkpoint={}/empty"),
        ("evaluate", "--checkpoint={}/run/checkpoints"),
        ("evaluate", "--checkpoint={}/run/results.json"),
        ("evaluate", RUN, "--data_path={}/nowhere"),
        ("evaluate", RUN, "--json={}/nowhere/a.json"),
        ("evaluate", RUN, "--json={}/empty"),
        ("evaluate", RUN, "--json={}/run/results.json"),
        ("evaluate", RUN, "--split=validation"),
        ("evaluate", RUN, "--above=100000"),
        ("evaluate", RUN, "--hardware.weight_bits=40,"),
        ("evaluate", RUN, "--corruptions.kinds=fog"),
        ("evaluate", "--checkpoint=None"),
    ],
    "Export, chips and theory": [
        ("export", RUN),
        ("export", RUN, "--out={}/nowhere/a.nir"),
        ("export", RUN, "--out={}/a.onx", "--format=onx"),
        ("export", RUN, "--out={}/a.nir", "--run=7"),
        ("export", RUN, "--out={}/a.nir", "--dt=0"),
        ("export", RUN, "--out={}/a.nir"),
        ("evaluate_nir", "--file={}/nowhere.nir", "--data_path={}/data"),
        ("evaluate_nir", "--file={}/file.txt", "--data_path={}/data"),
        ("bench", "--network={}/nowhere.nir", "--data_path={}/data"),
        ("theory", "--checkpoint={}/empty"),
        ("theory", RUN, "--points=1"),
        ("severities", RUN, "--kinds=fog"),
        ("severities", RUN, "--kinds="),
        ("plots", "--keep={}/empty", "--name=a"),
        ("plots", "--keep={}/run", "--name=../a"),
        ("download", "--dataset=cifar"),
        ("benchmark", "--device=maybe"),
    ],
}


def prepare(folder, trained) -> None:
    """Makes the folder that the mistakes are made in; ``trained``: a finished small run."""
    nmnist_files.dataset(folder / "data")
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("hello\n")
    (folder / "no_config.py").write_text("config = 1\n")
    (folder / "exits.py").write_text("raise SystemExit(0)\n")
    (folder / "broken.py").write_text("def get_config(): return 1 / 0\n")
    cut = folder / "cut"
    cut.mkdir()
    for name in ("train.zip", "test.zip"):
        whole = (
            (folder / "data" / name).read_bytes() if (folder / "data" / name).exists() else b"PK"
        )
        (cut / name).write_bytes(whole[: len(whole) // 2])
    (folder / "run").symlink_to(trained)
