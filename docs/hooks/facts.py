"""Facts of environments and algorithms, read off the package and written as Markdown.

A page is the authority on its subject: what it names in a table or in its text is not said again.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from shoal.algorithms.registry import PLANNERS, learner_class, list_algorithms, planner_class
from shoal.envs.core import list_environments, make

FEW = 5  # names that are listed whole
MANY = 12  # rows from which a table is folded away
Facts = dict[str, Any]


# Environments ----------------------------------------------------------------------------------------


def names_of(page: str) -> list[str]:
    """Returns what a page's heading says that it is about: full names without versions."""
    family, names = "", []
    for word in _title(page).split(","):
        name = word.strip()
        if "/" in name:
            family = name.partition("/")[0]
        else:
            name = f"{family}/{name}"
        names.append(re.sub(r"-v\d+$", "", name))
    return names


def ids_of(page: str) -> list[str]:
    """Returns the environments that a page is about: those named, and forms of them (``NAME-...``)."""

    def about(id: str, name: str) -> bool:
        bare = id.rpartition("-v")[0]
        if name.endswith("*"):
            return bare.startswith(name[:-1])
        return bare == name or bare.startswith(f"{name}-")

    return [id for id in our_environments() if any(about(id, name) for name in names_of(page))]


@cache
def our_environments() -> dict[str, Facts]:
    """Returns `Environment.describe` of every registered environment of this package."""
    made = {id: make(id) for id in list_environments()}
    return {id: env.describe() for id, env in made.items() if type(env).__module__.startswith("shoal.")}


def environments_index(pages: Mapping[str, str]) -> str:
    """Returns the page that lists all environments.

    Args:
        pages: file name -> text.

    Raises:
        ValueError: when a registered environment has not exactly one page, or a page is about none.
    """
    ids = {file: ids_of(text) for file, text in pages.items()}
    for file in (file for file, own in ids.items() if not own):
        raise ValueError(f"docs/environments/{file}: its heading must name a registered environment")
    for id in our_environments():
        homes = [file for file, own in ids.items() if id in own]
        if len(homes) != 1:
            raise ValueError(f"{id} must have one page in docs/environments, by its heading, and has {homes}")
    rows = []
    for file, own in sorted(ids.items()):
        sizes = sorted({len(our_environments()[id]["agents"]) for id in own})
        agents = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        cited = "; ".join(dict.fromkeys(our_environments()[id]["citation"] for id in own))
        rows.append((f"[{_title(pages[file])}]({file})", len(own), agents, cited))
    return "\n\n".join(
        [
            "# Environments",
            "`shoal envs` lists every id, `shoal describe ID` tells all about one. What an environment is "
            "and promises: [the contract](../guides/contract.md).",
            _table(("environment", "ids", "agents", "source"), rows),
        ]
    )


def environment_block(file: str, page: str) -> str:
    """Returns what is registered under a page's names, and the options and metrics that it does not name."""
    facts = [our_environments()[id] for id in ids_of(page)]
    metrics = [(f"`{m['name']}`", _range(m), _better(m)) for m in _fields(facts, "metrics")]
    settings = _fields(facts, "options", "params")
    allowed = [(f"`{f['name']}`", _allowed(f)) for f in settings if _allowed(f)]
    unsaid = [
        (f"`{f['name']}`", kind, _value(f.get("default")), f.get("doc") or f.get("meaning", ""))
        for kind, plural in (("option", "options"), ("parameter", "params"), ("metric", "metrics"))
        for f in _fields(facts, plural)
        if not _says(page, f["name"])
    ]
    parts = [
        "## As registered",
        *_registered(facts),
        _table(("metric", "range", "better"), metrics),
        _folded("What options and parameters may be", _table(("name", "allowed"), allowed)),
    ]
    if unsaid:
        parts += ["Not named above:", _table(("name", "kind", "default", "meaning"), unsaid)]
    return "\n\n".join(parts)


def _registered(facts: Sequence[Facts]) -> list[str]:
    """Returns what all ids have in common, and a table of what they differ in."""
    columns: dict[str, Callable[[Facts], str]] = {
        "agents": lambda f: f"{len(f['agents']):,} ({_few(f['agents'])})",
        "groups": lambda f: ", ".join(f"`{name}` ({len(own):,})" for name, own in f["groups"].items()),
        "view": lambda f: _space(f["observation_space"]),
        "actions": lambda f: _space(f["action_space"]),
        "global state": lambda f: _space(f["state_space"]),
        "steps": lambda f: f"{f['max_steps']:,}",
        "time limit": lambda f: "an ordinary end" if f["time_limit_is_termination"] else "a truncation",
        "team reward": lambda f: f"`{f['team_reward']}`",
        "sets": _changed,
        "source": lambda f: f["citation"],
    }
    values = {name: [of(f) for f in facts] for name, of in columns.items()}
    differ = [name for name, own in values.items() if len(set(own)) > 1]
    same = [f"- {name}: {own[0]}" for name, own in values.items() if name not in differ and own[0]]
    if len(facts) == 1:
        return ["\n".join([f"- id: `{facts[0]['id']}`", *same])]
    rows = [(f"`{f['id']}`", *(values[name][i] for name in differ)) for i, f in enumerate(facts)]
    table = _table(("id", *differ), rows)
    return ["\n".join(same), table if len(rows) < MANY else _folded(f"{len(rows)} ids", table)]


# Algorithms ------------------------------------------------------------------------------------------


def algorithms_index(pages: Mapping[str, str]) -> str:
    """Returns the page that lists all algorithms and planners.

    Args:
        pages: file name -> text.

    Raises:
        ValueError: when one of ours has no page, or a page is about none.
    """
    kinds = {name: _kind(name) for name in [*list_algorithms(), *PLANNERS]}
    ours = {
        f"{name.replace('_', '-')}.md": name for name, k in kinds.items() if k.__module__.startswith("shoal.")
    }
    if set(ours) != set(pages):
        wrong = sorted(set(ours) ^ set(pages))
        raise ValueError(f"docs/algorithms must have one page for each algorithm, and differs in {wrong}")
    rows = [
        (f"[{_title(pages[file])}]({file})", f"`{name}`", _summary(kinds[name]))
        for file, name in sorted(ours.items())
    ]
    return "\n\n".join(
        [
            "# Algorithms",
            "`shoal train algorithm=NAME` trains one, `shoal evaluate ENV --policy cao` plays the planner. "
            "What all have in common: [training](../guides/training.md), [networks](../guides/networks.md), "
            "[teams](../guides/teams.md).",
            _table(("algorithm", "name", "what"), rows),
        ]
    )


def algorithm_block(file: str, page: str) -> str:
    """Returns which hyperparameters can be swept in one program, and those that a page does not name."""
    kind = _kind(file.removesuffix(".md").replace("-", "_"))
    if not hasattr(kind, "Config"):
        return ""
    fields, comments = dataclasses.fields(kind.Config), _comments(kind.Config)
    floats = [f"`{f.name}`" for f in fields if f.type in (float, "float")]
    parts = [
        "## As configured",
        f"`algorithm.*` has {len(fields)} entries. Floats, several values of which train side by side in one "
        f"program (`sweep.NAME=[...]`): {', '.join(floats)}.",
    ]
    unsaid = [
        (f"`{f.name}`", _value(f.default), comments.get(f.name, ""))
        for f in fields
        if not _says(page, f.name)
    ]
    if unsaid:
        parts += ["Not named above:", _table(("name", "default", "meaning"), unsaid)]
    return "\n\n".join(parts)


def _kind(name: str) -> type[Any]:
    """Returns the class of an algorithm or planner."""
    return planner_class(name) if name in PLANNERS else learner_class(name)


def _summary(kind: type[Any]) -> str:
    """Returns the first line of the module's documentation: what it is and where it comes from."""
    return (inspect.getmodule(kind).__doc__ or "").partition("\n")[0]


def _comments(config: type[Any]) -> dict[str, str]:
    """Returns what the source says behind each field, base classes first."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        found |= dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(kind), re.MULTILINE))
    return found


# Words -----------------------------------------------------------------------------------------------


def _title(page: str) -> str:
    return page.partition("\n")[0].removeprefix("# ")


def _says(page: str, name: str) -> bool:
    """Returns whether a page names a field, also as the end of a list: ``epsilon_start, _finish``."""
    end = name.partition("_")[2]
    return bool(re.search(rf"\b{name}\b" + (rf"|\W_{end}\b" if end else ""), page))


def _fields(facts: Sequence[Facts], *kinds: str) -> list[Facts]:
    """Returns the options, parameters or metrics of several environments, each name once."""
    return list({f["name"]: f for one in reversed(facts) for kind in kinds for f in one[kind]}.values())


def _changed(facts: Facts) -> str:
    """Returns the options and parameters by which an id differs from its class's defaults."""
    own = [f for f in (*facts["options"], *facts["params"]) if f["value"] != f["default"]]
    return ", ".join(f"`{f['name']}={f['value']}`" for f in own if len(str(f["value"])) < 60)


def _few(names: Sequence[str]) -> str:
    shown = names if len(names) <= FEW else [*names[:2], "...", names[-1]]
    return ", ".join(name if name == "..." else f"`{name}`" for name in shown)


def _space(text: str) -> str:
    """Returns a space in short: ``float32 [75], -2 to 2``."""
    box = r"Box\(low=(\S+), high=(\S+), shape=\((.*?),?\), dtype=dtype\('(\w+)'\)\)"
    return re.sub(box, r"\4 [\3], \1 to \2", text).replace(", -inf to inf", "").replace("|", "\\|")


def _range(metric: Facts) -> str:
    low, high = ("" if metric[k] is None else f"{metric[k]:g}" for k in ("low", "high"))
    return f"{low or '-inf'} to {high or 'inf'}"


def _better(metric: Facts) -> str:
    return "up" if metric["higher_is_better"] else "down"


def _allowed(field: Facts) -> str:
    if "choices" in field:
        return ", ".join(f"`{choice}`" for choice in field["choices"])
    low, high = field.get("low"), field.get("high")
    if low is None and high is None:
        return ""
    return f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"


def _value(value: Any) -> str:
    return "" if value is None else f"`{value}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _folded(title: str, text: str) -> str:
    """Returns what is shown on a click."""
    return f'??? note "{title}"\n\n' + "\n".join(f"    {line}" for line in text.split("\n"))
