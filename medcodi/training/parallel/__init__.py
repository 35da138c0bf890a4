"""The loop's view of processes: one, DDP, ZeRO, fully_shard."""
