"""The language model: its prompt, its decoder, and what becomes of the text that it writes."""
