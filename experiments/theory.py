"""Compares bounds of the theory with measurements on a trained run, and checks their assumptions.

    python -m experiments.theory --checkpoint=WORKDIR

The runs of the workdir are trained again from their seeds, and nothing of them is changed. On the
way they are measured on --recordings training recordings, at --points moments. Then follow the
bounds at the end of training, on the same recordings, and certificates of the swap on test
recordings. Writes ``theory.html``, ``theory.md``, ``theory.json`` and plots into the workdir. The
recordings have to be those that the runs were trained on.
"""

from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.theory import page, report

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings; the run's own if none")
_RECORDINGS = flags.DEFINE_integer(
    "recordings", 512, "training recordings that the risk is measured on, all at once", 8
)
_POINTS = flags.DEFINE_integer("points", 8, "moments of training that are measured", 2)


def main() -> None:
    workdir = files.place(_CHECKPOINT.value)
    done = report.report(workdir, _DATA_PATH.value, _RECORDINGS.value, _POINTS.value)
    print("\n".join(page.conclusions(done)))
    print(f"report: {workdir / 'theory.html'}")


if __name__ == "__main__":
    cli.run(main, "--recordings, of which all are measured at once")
