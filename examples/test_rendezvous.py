"""What an environment of one's own is checked by: ``python -m pytest examples``."""

from __future__ import annotations

from examples.rendezvous import Rendezvous
from shoal.envs.core.conformance import check_environment


def test_conformance() -> None:
    options = {"num_agents": 3, "cells": 7, "max_steps": 8}
    check_environment(Rendezvous.from_overrides("examples.rendezvous:Rendezvous", options))
