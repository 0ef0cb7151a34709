"""The multi-agent particle environments (MPE) and their relatives."""

from shoal.envs.core.registry import register

register("particle/simple-spread-v1", "shoal.envs.particle.spread.env:SimpleSpread")
register("particle/simple-reference-v1", "shoal.envs.particle.reference.env:SimpleReference")
register("particle/simple-tag-v1", "shoal.envs.particle.tag.env:SimpleTag")
register(
    "particle/simple-speaker-listener-v1", "shoal.envs.particle.speaker_listener.env:SimpleSpeakerListener"
)
register("particle/ncnav-easy-v1", "shoal.envs.particle.ncnav.env:NonCooperativeNavigation")
register("particle/ncnav-hard-v1", "shoal.envs.particle.ncnav.env:NonCooperativeNavigation", random_agents=1)
