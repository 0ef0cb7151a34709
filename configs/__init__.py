"""Package data: the YAML files of every configuration group."""

if not __name__.startswith("shoal."):
    raise ImportError("import shoal.configs, not configs: this folder is a part of the package shoal")
