"""Empirical game theory of commons: who holds back, what mixed company pays, and whether it is a dilemma."""
