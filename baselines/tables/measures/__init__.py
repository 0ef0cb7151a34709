"""How cells are measured: by playing, training, training and then playing, auctions, or the benchmark."""

from shoal.baselines.tables.measures.auctions import Auctions
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings
from shoal.baselines.tables.measures.bench import Bench
from shoal.baselines.tables.measures.play import Play
from shoal.baselines.tables.measures.restraint import Restraint
from shoal.baselines.tables.measures.train import Train
from shoal.baselines.tables.measures.trained import Trained

MEASURES: dict[str, Measure] = {
    "play": Play(),
    "train": Train(),
    "trained": Trained(),
    "restraint": Restraint(),
    "auctions": Auctions(),
    "bench": Bench(),
}

__all__ = ["MEASURES", "Deadline", "Measure", "Settings"]
