"""How long a session takes: latency, memory and the statistics of rounds; knows Session, no runtime."""
