"""The pages, each answering one question."""
