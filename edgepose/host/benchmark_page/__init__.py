"""A benchmark's record for people: Markdown and a plot."""
