"""The multi-agent particle environments (MPE) and their relatives."""

from shoal.envs.core.registry import register

register(
    "particle/simple-speaker-listener-v1", "shoal.envs.particle.speaker_listener.env:SimpleSpeakerListener"
)
