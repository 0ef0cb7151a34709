"""``shoal describe``: one environment at length."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer


def describe(
    env: Annotated[str, typer.Argument(help="Environment id, with or without -vN.")],
    json: Annotated[bool, typer.Option("--json", help="Print one metadata object.")] = False,
) -> None:
    """Describe an environment: agents, spaces, metrics, options and parameters, source.

    Example: shoal describe combat/smax-3m
    """
    from shoal.baselines.output import print_json, print_table
    from shoal.envs.core import make

    facts = make(env).describe()
    if json:
        return print_json(facts)
    groups = ", ".join(f"{name} ({len(members)})" for name, members in facts["groups"].items())
    limit = "an ordinary end" if facts["time_limit_is_termination"] else "a truncation"
    overview = [
        ("agents", f"{len(facts['agents'])}: {_few(facts['agents'])}"),
        ("groups", groups),
        ("observation", _space(facts["observation_space"])),
        ("actions", _space(facts["action_space"])),
        ("state", _space(facts["state_space"])),
        ("steps", f"{facts['max_steps']} at most; the time limit is {limit}"),
        ("team reward", facts["team_reward"]),
        ("source", facts["citation"]),
    ]
    print_table(facts["id"], ("", ""), overview)
    metrics = [
        (
            m["name"],
            m["meaning"],
            f"{_bound(m['low'], '-inf')} to {_bound(m['high'], 'inf')}",
            "up" if m["higher_is_better"] else "down",
        )
        for m in facts["metrics"]
    ]
    print_table("Metrics of an episode", ("name", "meaning", "range", "better"), metrics)
    for title, kind in (
        ("Options (shape arrays: changing one compiles again)", "options"),
        ("Parameters (numbers: changing one does not)", "params"),
    ):
        if facts[kind]:
            rows = [(f["name"], _value(f["default"]), _allowed(f), f["doc"]) for f in facts[kind]]
            print_table(title, ("name", "default", "allowed", "meaning"), rows)


def _space(text: str) -> str:
    return re.sub(r"<class 'numpy\.(\w+)'>", r"\1", text)


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])}, ... {names[-1]}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _allowed(field: dict[str, Any]) -> str:
    if "choices" in field:
        return ", ".join(map(str, field["choices"]))
    low, high = field.get("low"), field.get("high")
    if low is None and high is None:
        return ""
    return f"{'' if low is None else low} .. {'' if high is None else high}"


def _bound(value: float | None, infinite: str) -> str:
    """Returns a bound as text; JSON, from which it comes, has null for the infinite ones."""
    return infinite if value is None else f"{value:g}"
