"""The language model's side of an answer: the prompt, and what becomes of the text that the model writes."""
