"""Named defects of published learners, fixed unless a run asks for them."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.envs.core import UserError
from shoal.envs.core.errors import nearest


def expand_flags(flags: Iterable[str], known: tuple[str, ...], paper: tuple[str, ...]) -> frozenset[str]:
    """Returns the set that ``flags`` name; ``paper`` stands for those the published tables used.

    Raises:
        UserError: for a flag that this algorithm does not have.
    """
    names: set[str] = set()
    for flag in flags:
        if flag != "paper" and flag not in known:
            raise UserError(f"algorithm.compat has no flag {flag!r}{nearest(flag, (*known, 'paper'))}")
        names |= set(paper) if flag == "paper" else {flag}
    return frozenset(names)
