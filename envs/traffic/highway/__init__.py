"""The heterogeneous highway: learners among scripted drivers of hidden styles."""
