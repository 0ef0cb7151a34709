"""Maps of Clean Up: . floor, a orchard, P where agents appear, ~ river, d and c its polluted area, dirty and
clean at a reset.
"""

MAPS = {
    "full": """\
cdddcddcdcdcdcdcdcdccdcdddcd
cdcdcddcdcdcdcdcdcdccdcdddcd
cddcddccdcdcdcdcdcdccdcdddcd
cdcdcddcdcdcdcdcdcdccdcdddcd
cddddddcdcdcdcdcdcdccdcdddcd
...............~dcccccc.....
...P....P..........~~~......
.....P.....P...P...~~...P...
.............P...P.~~.......
...P....P..........~~....P..
...............P...~~.P.....
.....P...........P.~~.......
...........P.......~~..P....
..P.............P..~~.......
.a.a.a.a.a.a.a.a.a.~~..a.a.a
aaaaaaaaaaaaaaaaaaa..aaaaaaa
aaaaaaaaaaaaaaaaaaaaaaaaaaaa
aaaaaaaaaaaaaaaaaaaaaaaaaaaa
aaaaaaaaaaaaaaaaaaaaaaaaaaaa
""",
    "small": """\
dcdcdcdcd
cdcdcdcdc
...~.....
.P.~.P.P.
...~.....
.P.~.P.P.
a.aaaa.aa
aaaaaaaaa
""",
}
"""The published map, and one for two to six agents on a laptop."""
