"""Text normalisation: one module of verbalisers for each family of tokens; `model.text` is what others call.

A verbaliser takes a token without the marks around it and returns the words for it, or None where the token is not of
its class. `verbalise.py` asks them in order; what none knows is put together from its runs of digits, letters and
signs.
"""
