"""Answers as a CLIP user asks for them: which label fits a picture, and how often the right one is among the best."""
