"""Simple tag: slower adversaries hunt faster good agents among obstacles."""
