"""How cells are measured: by playing, training, restraint of trained models, auctions, or the benchmark."""

from shoal.baselines.tables.measures.auctions import Auctions
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings
from shoal.baselines.tables.measures.bench import Bench
from shoal.baselines.tables.measures.play import Play
from shoal.baselines.tables.measures.restraint import Restraint
from shoal.baselines.tables.measures.train import Train

MEASURES: dict[str, Measure] = {
    "play": Play(),
    "train": Train(),
    "restraint": Restraint(),
    "auctions": Auctions(),
    "bench": Bench(),
}

__all__ = ["MEASURES", "Deadline", "Measure", "Settings"]
