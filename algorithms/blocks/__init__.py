"""The parts that several algorithms share: each formula has one owner here."""
