"""Generation at scale: prompts from files, studies in one of the formats, one manifest."""
