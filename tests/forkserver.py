"""A process that has imported the libraries and forks a fresh command whenever it is asked for one.

Commands are then processes of their own, as a user starts them, without importing JAX and Orbax
each time, and under the numerics of the tests. Nothing is computed before a fork, as JAX's threads
would not survive it. Run as ``python forkserver.py``; a request is a line of JSON on standard
input, an answer one on standard output.
"""

import json
import os
import runpy
import sys

import strict


def _preload() -> None:
    strict.numerics()
    import sast_jax.hardware.nir_graph
    import sast_jax.hardware.stablehlo
    import sast_jax.runs.study.cost
    import sast_jax.runs.study.landscape
    import sast_jax.runs.study.tuning
    import sast_jax.theory.report  # noqa: F401


def _child(request) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, name in enumerate(("/dev/null", request["out"], request["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0))
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0]) for n in range(3))
    strict.deprecations()
    sys.argv = [request["module"], *request["arguments"]]
    code = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def main() -> None:
    _preload()
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if not process:
            _child(request)
        _, status = os.waitpid(process, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), file=answers, flush=True)


if __name__ == "__main__":
    main()
