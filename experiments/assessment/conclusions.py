"""The conclusions of an assessment: sentences computed from its numbers."""

from experiments.assessment.measures import (
    ALIKE,
    MATCHED,
    MEASURES,
    PLAIN,
    REFERENCE,
    ROBUST,
    differences,
)


def summary(done: dict) -> str:
    """The conclusion, as it is printed."""
    of = f"{done['data']}: test split, means of {done['config']['seeds']} seeds, 95 % intervals."
    found = conclusions(done).items()
    return "\n\n".join([of, *(f"{regime}:\n{listed_points(said)}" for regime, said in found)])


def listed_points(said: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in said)


def conclusions(done: dict) -> dict[str, list[str]]:
    """For each regime sentences computed from its numbers."""
    return {regime: conclude(of_it["methods"]) for regime, of_it in done["regimes"].items()}


def conclude(methods) -> list[str]:
    every = differences(methods)
    found = {key: per_method[PLAIN] for key, per_method in every.items()}
    others = every["hard_accuracy"]
    hard = others[PLAIN]
    if hard.mean is None:
        return ["SAST and plain training have no finite runs of one seed, so nothing can be said."]
    own, plain = _means_of_pairs(methods, "hard_accuracy")
    said = [
        f"With hard spikes {_verdict(hard, 'plain training')}: {own:.2f} against {plain:.2f} %, "
        f"{_turned('hard_accuracy', hard)} points."
    ]
    if told := _matched(others, "hard_accuracy"):
        said.append(f"{told[0].upper()}{told[1:]} points.")
    compared = {key: d for key, d in found.items() if key != "hard_accuracy" and d.mean is not None}
    for word, wanted in (("Better", -1), ("Worse", 1)):
        listed = [
            f"{MEASURES[key].title} {_turned(key, d)}"
            for key, d in compared.items()
            if d.sign * MEASURES[key].better == wanted
        ]
        if listed:
            said.append(f"{word} than {ALIKE}: {'; '.join(listed)}.")
    unclear = [MEASURES[key].title for key, d in compared.items() if not d.sign]
    if unclear:
        said.append(f"Not shown to differ from {ALIKE}: {'; '.join(unclear)}.")
    for word, sign in (("More", 1), ("Less", -1)):
        named = _listed(others, "hard_accuracy", sign) or "no method shown"
        said.append(f"{word} accurate than SAST with hard spikes: {named}.")
    for key in ROBUST:
        matched = _matched(every[key], key)
        first = matched and f"{matched}; "
        above = _listed(every[key], key, 1) or "none"
        below = sum(d.sign < 0 for d in every[key].values())
        measured = sum(d.mean is not None for d in every[key].values())
        if measured:
            said.append(
                f"{MEASURES[key].title}: {first}shown to be above SAST: {above}; below it: {below} "
                f"of {measured}."
            )
    return said + (_cost(methods, others) if "time" in methods[REFERENCE] else [])


def _matched(found, key) -> str:
    """SAST against plain training with as many gradients; empty if not measured."""
    longer = found.get(MATCHED)
    if longer is None or longer.mean is None:
        return ""
    verdict = _verdict(longer, "plain training")
    return f"with as many gradients each, {verdict}: {_turned(key, longer)}"


def _verdict(difference, other) -> str:
    """What a method's difference to SAST says about SAST."""
    low, high = difference.ci95 or (0, 0)
    corrected = " after correction for all methods" if low > 0 or high < 0 else ""
    return {
        1: f"SAST is worse than {other}",
        -1: f"SAST is better than {other}",
        0: f"no difference between SAST and {other} is shown{corrected}",
    }[difference.sign]


def _means_of_pairs(methods, key) -> tuple[float, float]:
    """SAST's mean and plain training's over the seeds in which both are finite, as shown."""
    both = ([run[key] for run in methods[name]["runs"]] for name in (REFERENCE, PLAIN))
    pairs = [pair for pair in zip(*both, strict=True) if None not in pair]
    own, plain = (
        MEASURES[key].factor * sum(side) / len(pairs) for side in zip(*pairs, strict=True)
    )
    return own, plain


def _listed(found, key, sign) -> str:
    """The methods on one side of SAST with how far they are from it, the largest first."""
    listed = sorted((d.mean, name) for name, d in found.items() if d.sign == sign)
    return ", ".join(f"{name} ({signed(key, mean)})" for mean, name in listed[::-1])


def _turned(key, difference) -> str:
    """SAST minus a method, with its interval, in words."""
    measure = MEASURES[key]
    shown = signed(key, -difference.mean)
    return shown + interval_of(difference, -measure.factor, measure.digits)


def signed(key, value) -> str:
    return f"{MEASURES[key].factor * value:+.{MEASURES[key].digits}f}"


def _cost(methods, hard) -> list[str]:
    _, own, most = methods[REFERENCE]["time"]
    said = f"Training with SAST takes {own:.2f} times as long as plain training."
    cheaper = [
        f"{name} ({methods[name]['time'][1]:.2f})"
        for name, d in hard.items()
        if d.sign > 0 and methods[name]["time"][0] <= most
    ]
    named = ", ".join(cheaper) or "no method shown"
    return [said, f"More accurate, and by the quartiles not clearly slower: {named}."]


def interval_of(difference, factor, digits=2) -> str:
    if difference.ci95 is None:
        return ""
    low, high = sorted(factor * end for end in difference.ci95)
    return f" [{low:+.{digits}f}, {high:+.{digits}f}]"
