"""What the paper and its published code say of sizes."""

# millions in the published code, and those that never run (published fault 15, tests/foreign); no
# source tells of its other parts
PUBLISHED_VIEW, NEVER_RUNS = 1773, 617
