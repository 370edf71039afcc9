"""How programs mean the neurons that they write to NIR.

NIR gives differential equations, and no step of time, no way to integrate them, and no reset but to
a value. What a program computes from them, or computed before it wrote them, differs.
"""

import dataclasses

RESETS = ("zero", "subtract", "subtract-late")


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How one program means the neurons of a graph.

    Attributes:
      dt: seconds of a step; None where the user has to say.
      exponential: a potential keeps exp(-dt / tau) of itself in a step; else 1 - dt / tau, as
        Euler's method has it.
      resists: inputs are multiplied by r, and by the share of the potential that leaks in a step;
        else they are taken as they are.
      integrates: the inputs of an IF neuron are multiplied by r dt; else taken as they are.
      reset: "zero" (to v_reset, after the spike), "subtract" (the threshold, after the spike) or
        "subtract-late" (the threshold, with the leak of the next step already taken).
      synaptic_reset: the same of CubaLIF; "" for ``reset``.
      jumps: the synaptic current of a CubaLIF takes inputs whole; else the share that leaks.
      delayed: a spike is seen in the step after the potential has passed the threshold.
    """

    dt: float | None = None
    exponential: bool = False
    resists: bool = True
    integrates: bool = True
    reset: str = "zero"
    synaptic_reset: str = ""
    jumps: bool = False
    delayed: bool = False


DIALECTS = {
    "nir": Dialect(),
    "snntorch": Dialect(dt=1e-4),
    "spikingjelly": Dialect(dt=1e-4),
    # Norse's export divides its step of 1e-3 s by the rates, and runs at steps of 1e-3 s itself.
    "norse": Dialect(dt=1e-6, integrates=False, jumps=True),
    "sinabs": Dialect(dt=1.0, exponential=True, reset="subtract"),
    "spyx": Dialect(
        dt=1.0,
        resists=False,
        integrates=False,
        reset="subtract-late",
        synaptic_reset="subtract",
        delayed=True,
    ),
}
"""By the name of the program that wrote the graph; "nir" is what the specification says."""
