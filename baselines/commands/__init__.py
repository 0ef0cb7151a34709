"""The commands of ``shoal``, one module each; importing one must cost no jax."""
