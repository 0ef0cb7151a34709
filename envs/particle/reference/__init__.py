"""Simple reference: each of two agents knows where the other should go, and must say so."""
