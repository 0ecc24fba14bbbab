"""The language model: its decoder in compiled form."""
