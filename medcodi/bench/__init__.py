"""What a step, a sample and a command cost: time and memory."""
