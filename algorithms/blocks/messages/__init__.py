"""What agents hear of their neighbours: who they are, what is sent, and a recurrent core that listens.

Nothing here knows how the hearers learn.
"""
