"""Simple speaker-listener: one knows the goal and cannot move, the other moves and cannot know it."""
