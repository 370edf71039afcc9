"""What went wrong with a command line, in words of its user."""

import dataclasses
import difflib
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from sast_jax.data import sets
from sast_jax.runs import settings, workdirs

CONFIG_OF: list[str] = []  # this command, if it has one
_PLACE = {"out": "FILE", "file": "FILE", "network": "FILE", "data_path": "FOLDER"}
_OTHER_WORDS = (  # of absl and ml_collections, and ours
    (r"^flag (--\S+?)=(.*): could not convert string to float.*", r"\1=\2 must be a number"),
    (r"^flag (--\S+?)=(.*): invalid literal for int.*", r"\1=\2 must be a whole number"),
    (r"^flag (--\S+?)=(.*): .* is not integer >= (\d+)", r"\1=\2 must be a whole number from \3"),
    (r"^flag (--\S+?)=(.*): .*[Nn]on-boolean argument.*", r"\1=\2 must be True or False"),
    (r"^flag (--\S+?)=(.*): value should be one of <(.*)>", r"\1=\2 must be one of \3"),
)


def of(error: Exception) -> str:
    """The line for what parsing a command line raised."""
    inner = error.args[0] if isinstance(error, AttributeError) and error.args else None
    if isinstance(inner, KeyError):  # a config's own, which names near matches
        return _no_key(str(inner.args[0]))
    if isinstance(error, KeyError):
        return _no_key(str(error).strip('"'))
    if isinstance(error, flags.UnrecognizedFlagError):
        return _unknown(error.flagname, error.flagvalue)
    if not isinstance(error, (flags.Error, OSError)):
        return f"{type(error).__name__} in a flag or config file: {error}"
    text, *traceback = str(error).split("Traceback (most recent call last):")
    if traceback:
        text += traceback[-1].strip().rpartition("\n")[2]
    missing = re.fullmatch(r"flag --(\w+)=None: .* value other than None\.", text)
    if missing:
        name = missing[1]
        return f"add --{name}={_PLACE.get(name, 'WORKDIR')}"
    for pattern, words in _OTHER_WORDS:
        text = re.sub(pattern, words, text, flags=re.DOTALL)
    return text.replace("|", ", ") if " must be one of " in text else text


def unexpected(argument: str) -> str:
    """The line for an argument that is no flag."""
    name, equals, _ = argument.partition("=")
    (near,) = _near(name, known()) if equals else ("",)
    hint = f"write --{near}={argument.partition('=')[2]}" if near else "settings are --flag=value"
    return f"unexpected argument {argument!r}; {hint}"


def _no_key(text) -> str:
    """The line for a key of a config that is not there, as it was typed if it was."""
    missing = text.partition("\n")[0].strip("'")
    for argument in sys.argv[1:]:
        name, equals, value = argument.lstrip("-").partition("=")
        if missing in name.split(".")[1:]:
            (near,) = _near(name, _keys() if name.startswith("config.") else known())
            hint = f"write --{near}{equals}{value}; " if near else ""
            return f"no key {name}; {hint}{_where_keys_are()}"
    return f"no config key {missing!r}; {_where_keys_are()}"


def _where_keys_are() -> str:
    if _own_config():
        return "--help lists them all"
    return "`python -m experiments.keys` lists them all"


def _unknown(name, value) -> str:
    (near,) = _near(name, known())
    if not near:
        return f"unknown flag --{name}; --help lists what there is"
    _, equals, given = (value or "").partition("=")  # the value is the whole argument
    return f"unknown flag --{name}; write --{near}{equals}{given}"


def known() -> list[str]:
    """The flags of this command, and the keys of its config."""
    names = list(flags.FLAGS)
    return names + _keys() if "config" in names else names


def _keys() -> list[str]:
    """The keys of the command's config, or of all sets' where it is one of runs."""
    if own := _own_config():
        return [f"config.{key}" for key in own]
    keys = (key for name in sets.SETS for key in workdirs.flat(settings.config(name).to_dict()))
    return [f"config.{key}" for key in dict.fromkeys(keys)]


def _own_config() -> dict[str, Any]:
    """The keys and values of a config that is none of runs, such as a study's."""
    if not CONFIG_OF or CONFIG_OF[0] in sets.SETS:
        return {}
    made = importlib.import_module(f"experiments.configs.{CONFIG_OF[0]}").get_config()
    return workdirs.flat(made.to_dict())


def _near(name: str, names: Iterable[str]) -> tuple[str]:
    """The name that was probably meant, or an empty one."""
    names, last = [n for n in names if n != name], name.rpartition(".")[2]
    whole = [n for n in names if n == f"config.{last}"]
    parts = [n for n in names if n.endswith(f".{last}")]
    alike = [n for n in names if _likeness(last, n.rpartition(".")[2]) >= 0.6]
    close = difflib.get_close_matches(name, alike, 1, 0.75)
    return ((whole or (parts if len(parts) == 1 else []) or close or [""])[0],)


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def asks_for_help(arguments: Iterable[str]) -> bool:
    """Whether a command line asks what the command does."""
    return any(argument.lstrip("-") in ("help", "h", "?") for argument in arguments)


def help_text(groups: Mapping[str, Any]) -> str:
    """What ``--help`` prints: what the command does, its flags, and the keys of its config.

    Args:
      groups: of settings that are flags of their own.
    """
    from experiments import keys  # which imports this module

    main = sys.modules["__main__"]
    lines = [(main.__doc__ or "").strip(), ""]
    own = flags.FLAGS.flags_by_module_dict()
    of_it = {flag.name: flag for module in own for flag in own[module] if _is_own(module)}
    for name, flag in sorted(of_it.items()):
        if name.partition(".")[0] not in ("config", *groups):
            lines.append(_line(f"--{name}={_shown(flag.default)}", flag.help))
    for group, given in groups.items():
        for field in dataclasses.fields(given):
            setting = f"--{group}.{field.name}={_shown(getattr(given, field.name))}"
            lines.append(_line(setting, field.metadata["about"]))
    if CONFIG_OF and CONFIG_OF[0] in sets.SETS:
        lines.append(_line("--config=FILE", "settings; single keys after it win"))
        for key, (field, value) in keys.of(CONFIG_OF[0]).items():
            lines.append(_line(f"--config.{key}={_shown(value)}", field.metadata["about"]))
    for key, value in _own_config().items():
        lines.append(f"  --config.{key}={_shown(value)}")
    return "\n".join(lines)


def _is_own(module) -> bool:
    return module.startswith("experiments") or module == sys.argv[0]


def _shown(value) -> str:
    values = value if isinstance(value, (tuple, list)) else [value]
    return ",".join("" if one is None else f"{one}" for one in values)


def _line(setting, about) -> str:
    return f"  {setting:42} {about}".rstrip()
