"""What a person runs: command line, runner, evaluation, checkpoints, loggers, benchmark, tables."""

if not __name__.startswith("shoal."):
    raise ImportError("import shoal.baselines, not baselines: this folder is a part of the package shoal")
