"""Who speaks when: what ends a turn, and what an interruption means."""
