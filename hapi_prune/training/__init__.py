"""One ``fit``: its session, access to ``paddle.Model``, checkpoints, resume."""
