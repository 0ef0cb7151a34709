"""The named battles. Their names follow SMAC and write zealots as z; unit lists write them as Z."""

from __future__ import annotations

from typing import Any

_SIDES = {
    "3m": ("3m", "3m"),
    "8m": ("8m", "8m"),
    "25m": ("25m", "25m"),
    "2s3z": ("2s3Z", "2s3Z"),
    "3s5z": ("3s5Z", "3s5Z"),
    "5m_vs_6m": ("5m", "6m"),
    "10m_vs_11m": ("10m", "11m"),
    "27m_vs_30m": ("27m", "30m"),
    "3s5z_vs_3s6z": ("3s5Z", "3s6Z"),
    "3s_vs_5z": ("3s", "5Z"),
    "6h_vs_8z": ("6h", "8Z"),
}

SCENARIOS: dict[str, dict[str, Any]] = {
    name: {"allies": allies, "enemies": enemies} for name, (allies, enemies) in _SIDES.items()
} | {
    f"smacv2_{n}_units": {
        "allies": f"{n}m",  # only how many: the types are drawn
        "enemies": f"{n}m",
        "unit_types": "random",
        "starts": "smacv2",
    }
    for n in (5, 10, 20)
}
