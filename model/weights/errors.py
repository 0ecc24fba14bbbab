"""What can be wrong with a file of weights."""

from __future__ import annotations

from model.request import OmniError


class WeightsError(OmniError):
    """A file of weights is missing, damaged or not of a kind that is run. The message says which, and what to do."""

    code = "weights_error"
