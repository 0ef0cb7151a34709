"""Maps of Commons Harvest: . floor, # wall, a apple, P where agents appear, Q where the first two open."""

_ORCHARD = """\
aaa....a......a....aaa
aa....aaa....aaa....aa
a....aaaaa..aaaaa....a
......aaa....aaa......
.......a......a.......
..a................a..
.aaa..Q........Q..aaa.
aaaaa............aaaaa
.aaa..............aaa.
..a................a..
"""

_HOUSE = """\
.aaa..##########..aaa.
..a.......##.......a..
#########.##.#########
..........##..........
..##################..
..P.P.P.P.P.P.P.P.P...
.P.P.P.P.P.P.P.P.P.P..
......................
"""

MAPS = {
    "open": _ORCHARD
    + """\
......................
......................
......................
..PPPPPPPPPPPPPPPPPP..
.PPPPPPPPPPPPPPPPPPPP.
PPPPPPPPPPPPPPPPPPPPPP
""",
    "closed": """\
aaa....a..##..a....aaa
aa....aaa.##.aaa....aa
a....aaaaa##aaaaa....a
......aaa.##.aaa......
.......a..##..a.......
..a.......##.......a..
.aaa..Q...##...Q..aaa.
aaaaa.....##.....aaaaa
"""
    + _HOUSE,
    "partnership": """\
aaa....a......a....aaa
aa....aaa....aaa....aa
a....aaaaa..aaaaa....a
......aaa....aaa......
.......a......a.......
..a................a..
.aaa..Q...##...Q..aaa.
aaaaa............aaaaa
"""
    + _HOUSE,
    "small": """\
aaa...a....
aa...aaa...
a...aaaaa..
.....aaa...
......a....
..a......Q.
.aaa.......
aaaaa......
.aaa...PPP.
..a...PPPPP
""",
}
"""The three published maps, and one for two to four agents on a laptop."""
